internal import RunCore

/// Brings one version of an object into a file on this machine: in parallel parts, resumable after a kill at any instant,
/// verified as a whole.
package struct Fetch: Sendable {
    package let store: any ObjectStore

    package init(from store: any ObjectStore) { self.store = store }

    /// Fetches `version` to `path`.
    ///
    /// While it runs, and after it was stopped, `<path>.reprise-partial` holds the bytes and `<path>.reprise-fetch` says
    /// which of them count; the same call goes on from there. The final name appears only once size and hash are right,
    /// by a rename; a file that was there before is replaced. Calling it again for a file that is already whole, and whose
    /// hash is known, reads the file and fetches nothing.
    ///
    /// - Parameter progress: called five times a second, on no thread in particular, and once at the end.
    /// - Throws: `ContentMismatch` where the hash is wrong and `ObjectChanged` where the version is gone: nothing is left
    ///   then. `FileFailure` where the disk is full, `ObjectStorageError` where the store failed for good, `FetchBusy`
    ///   where another process fetches to the same path: what was finished is then kept.
    package func fetch(
        _ version: ObjectVersion, to path: String, options: FetchOptions = FetchOptions(),
        progress: @escaping @Sendable (FetchProgress) -> Void = { _ in }
    ) async throws -> FetchedFile {
        precondition(version.sizeBytes >= 0)
        let files = try await runBlocking("reprise-files") { _ in
            try FetchFiles(version: version, path: path, options: options)
        }
        defer { files.release() }
        switch try await runBlocking("reprise-files", { try files.start($0) }) {
        case .finished(let file): return file
        case .fetch(let finished, let partSize):
            return try await fetch(files, finished: finished, partSize: partSize, progress)
        }
    }

    private func fetch(
        _ files: FetchFiles, finished: Set<Int>, partSize: Int64, _ progress: @escaping @Sendable (FetchProgress) -> Void
    ) async throws -> FetchedFile {
        let version = files.version
        let assembly = Assembly(sizeBytes: version.sizeBytes, partSizeBytes: partSize, finished: finished)
        var reused = assembly.count.doneBytes
        do {
            let digests: FetchRun.Digests
            var retries = 0
            do {
                digests = try await FetchRun(
                    store: store, files: files, assembly: assembly, retriesParts: true, progress: progress
                ).run()
                retries = assembly.count.failures
            } catch let error as ObjectStorageError where [.rangeIgnored, .rangeNotSatisfiable].contains(error.kind) {
                reused = 0
                (digests, retries) = try await fetchInOnePiece(files, progress)
            }
            let sha256 = digests.sha256, name = "\(store.displayName)/\(version.key)"
            if let expected = files.options.expectedSHA256 ?? version.sha256, expected != sha256 {
                throw ContentMismatch(name, "SHA-256", expected: expected, actual: sha256)
            }
            if let expected = version.md5, let actual = digests.md5, expected != actual {
                throw ContentMismatch(name, "MD5", expected: expected, actual: actual)
            }
            try await runBlocking("reprise-files") { _ in try files.finish(sha256: sha256) }
            progress(
                FetchProgress(
                    doneBytes: version.sizeBytes, totalBytes: version.sizeBytes, bytesPerSecond: 0, remainingSeconds: 0,
                    retries: retries))
            return FetchedFile(
                path: files.path, sizeBytes: version.sizeBytes, sha256: sha256, etag: version.etag, reusedBytes: reused,
                retries: retries)
        } catch let error where error is ContentMismatch || error is ObjectChanged {
            try await runBlocking("reprise-files") { _ in try files.removeRemains() }
            throw error
        }
    }

    /// For a store that answers a range with the whole: from 0, and from 0 again where an attempt fails.
    private func fetchInOnePiece(
        _ files: FetchFiles, _ progress: @escaping @Sendable (FetchProgress) -> Void
    ) async throws -> (digests: FetchRun.Digests, retries: Int) {
        let size = max(files.version.sizeBytes, 1)
        try await runBlocking("reprise-files") { _ in try files.begin(partSizeBytes: size) }
        var failures = 0
        while true {
            let assembly = Assembly(sizeBytes: files.version.sizeBytes, partSizeBytes: size, finished: [])
            let run = FetchRun(store: store, files: files, assembly: assembly, retriesParts: false, progress: progress)
            do { return (try await run.run(), failures) } catch let error as any RepriseError where error.isTransient {
                failures += 1
                guard failures <= files.options.retry.retries else { throw error }
                try await files.options.retry.wait(afterFailures: failures, error)
            }
        }
    }
}
