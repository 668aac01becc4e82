internal import Crypto
internal import RunCore

/// One pass over the parts of an object that are still missing.
struct FetchRun: Sendable {
    let store: any ObjectStore
    let files: FetchFiles
    let assembly: Assembly
    /// False where the store cannot send parts: then an attempt that fails is the end of this pass.
    let retriesParts: Bool
    let progress: @Sendable (FetchProgress) -> Void

    /// Of the whole, in lowercase hex.
    struct Digests: Sendable {
        let sha256: String
        /// Only where there is one to compare it with.
        let md5: String?
    }

    /// Fetches what is missing, and returns what the whole amounts to.
    func run() async throws -> Digests {
        async let digest = hash()
        do {
            try await readAll()
            // Flushing and the rest of the hashing go side by side.
            try await runBlocking("reprise-flush") { _ in try files.synchronizeIfDurable() }
            return try await digest
        } catch {
            assembly.close()
            // What is finished is worth keeping for the next attempt; that it cannot be counted is no news.
            try? await record()
            throw error
        }
    }

    private func readAll() async throws {
        let readers = retriesParts ? min(files.options.concurrency, assembly.partCount) : 1
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for _ in 0..<readers {
                group.addTask {
                    while let part = assembly.takePart() { try await fetch(part) }
                    return true
                }
            }
            group.addTask {
                try await keepBooks()
                return false
            }
            var running = readers
            while running > 0, let isReader = try await group.next() { running -= isReader ? 1 : 0 }
            group.cancelAll()
        }
    }

    private func fetch(_ part: Int) async throws {
        let range = assembly.range(of: part)
        var failures = 0
        while true {
            let before = assembly.writtenBytes(of: part)
            let writer = PartWriter(files.partial, assembly, part, from: range.lowerBound + before, to: range.upperBound)
            do {
                return try await store.read(
                    files.version, range: range.lowerBound + before..<range.upperBound, limits: files.options.limits
                ) { try writer.write($0) }
            } catch let error as any RepriseError where error.isTransient {
                assembly.noteFailure()
                guard retriesParts else { throw error }
                try await runBlocking("reprise-flush") { _ in try writer.flush() }
                // The pinned version is the same one, so what came before the failure stays. Only real progress earns new
                // attempts: a store that drips a byte for each of them must not hold us for ever.
                let gained = assembly.writtenBytes(of: part) - before
                failures = gained >= 256 * 1024 ? 1 : failures + 1
                if assembly.writtenBytes(of: part) == Int64(range.count) { return }
                guard failures <= files.options.retry.retries else { throw error }
                try await files.options.retry.wait(afterFailures: failures, error)
            }
        }
    }

    /// Large enough to be worth a disk's while, small enough that little is left for the flush at the end.
    private static let writebackBytes: Int64 = 8 << 20

    /// Tells the progress five times a second, and writes finished parts down once a second.
    private func keepBooks() async throws {
        var meter = RateMeter(total: assembly.sizeBytes)
        var ticks = 0
        while true {
            do { try await Task.sleep(for: .milliseconds(200)) } catch { return }
            ticks += 1
            progress(meter.sample(assembly.count, at: .now))
            if ticks % 5 == 0 || files.options.durability == .processCrash { try await record() }
        }
    }

    private func record() async throws {
        let parts = assembly.takeUnrecorded()
        if parts.isEmpty || !retriesParts { return }
        // Not to be cancelled half-way: it is short, and what it writes down is true.
        try await Task { try await runBlocking("reprise-record") { _ in try files.record(parts: parts) } }.value
    }

    /// Follows the readers through the page cache, so that hashing costs no pass of its own; what was hashed goes on to the disk.
    private func hash() async throws -> Digests {
        try await runBlocking("reprise-sha256") { isCancelled in
            var hash = SHA256()
            var md5 = files.version.md5 == nil ? nil : Insecure.MD5()
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 4096)
            defer { buffer.deallocate() }
            var offset: Int64 = 0
            var onItsWay: Int64 = 0
            while offset < assembly.sizeBytes {
                guard let whole = assembly.waitBeyond(offset), !isCancelled.isRaised else { throw CancellationError() }
                while offset < whole {
                    let slice = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(Int(min(whole - offset, 256 * 1024))))
                    let count = try files.partial.read(into: slice, at: offset)
                    guard count == slice.count else {
                        throw ObjectStorageError(.truncated, "\(files.partial.path) became shorter while it was written")
                    }
                    hash.update(bufferPointer: UnsafeRawBufferPointer(slice))
                    md5?.update(bufferPointer: UnsafeRawBufferPointer(slice))
                    offset += Int64(count)
                    if offset - onItsWay >= Self.writebackBytes {
                        files.startWriteback(onItsWay..<offset)
                        onItsWay = offset
                    }
                }
            }
            return Digests(sha256: Percent.lowercaseHex(hash.finalize()), md5: md5.map { Percent.lowercaseHex($0.finalize()) })
        }
    }
}

/// The rate over the last five seconds.
struct RateMeter {
    let total: Int64
    private var samples: [(time: ContinuousClock.Instant, bytes: Int64)] = []

    init(total: Int64, start: ContinuousClock.Instant = .now) {
        self.total = total
        samples = [(start, 0)]
    }

    mutating func sample(_ count: Assembly.Count, at time: ContinuousClock.Instant) -> FetchProgress {
        samples.append((time, count.fetchedBytes))
        while samples.count > 2, samples[0].time.duration(to: time) > .seconds(5) { samples.removeFirst() }
        let span = samples[0].time.duration(to: time).seconds
        let rate = span > 0 ? Double(count.fetchedBytes - samples[0].bytes) / span : 0
        let rest = total - count.doneBytes
        return FetchProgress(
            doneBytes: count.doneBytes, totalBytes: total, bytesPerSecond: rate,
            remainingSeconds: rest == 0 ? 0 : rate > 0 ? Double(rest) / rate : nil, retries: count.failures)
    }
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
