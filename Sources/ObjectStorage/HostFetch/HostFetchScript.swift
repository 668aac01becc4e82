package import Foundation
internal import RunCore

/// A fetch that runs on a host by itself, as a durable job: script by one way, presigned addresses by standard input.
package struct HostFetchJob: Sendable {
    /// For `sh`. Holds no secret.
    package let script: String
    /// One address a line. Good for whoever reads it until `expires`.
    package let standardInput: Secret
    package let expires: Date
    package let rangeCount: Int
}

/// What the script printed as its last line when it ended well.
package struct HostFetchResult: Hashable, Sendable, Codable {
    /// Of the object as it is stored.
    package let bytes: Int64
    package let sha256: String
    /// Of the file that now has the final name.
    package let unwrappedBytes: Int64
    package let unwrappedSHA256: String
    package let wrapper: Wrapper
}

package enum HostFetchScript {
    /// More than any disk has, and a number that every shell can count beyond.
    package static let unlimitedBytes: Int64 = 1 << 60

    package struct Options: Hashable, Sendable {
        /// Grown so that no object has more than 1,000 ranges.
        package var rangeSizeBytes: Int64
        /// Ranges at once, 1 to 8.
        package var parallel: Int
        /// Unwrap gzip, zstd and xz, told by their first bytes.
        package var unwraps: Bool
        /// A backup out of which more comes is refused; see `UnwrapLimit` for what the disk says besides.
        package var quotaBytes: Int64
        /// How long the addresses work. Ranges that are finished by then stay; the rest is signed again.
        package var expires: Duration
        package var retries: Int
        package var limits: ReadLimits
        /// Lowercase hex of the object as it is stored. Nil: the one that the store keeps, if it keeps one.
        package var expectedSHA256: String?

        package init(
            rangeSizeBytes: Int64 = 32 << 20, parallel: Int = 4, unwraps: Bool = true, quotaBytes: Int64 = HostFetchScript.unlimitedBytes,
            expires: Duration = .seconds(3600), retries: Int = 5, limits: ReadLimits = ReadLimits(),
            expectedSHA256: String? = nil
        ) {
            self.rangeSizeBytes = max(rangeSizeBytes, 65_536)
            self.parallel = min(max(parallel, 1), 8)
            self.unwraps = unwraps
            self.quotaBytes = max(0, min(quotaBytes, HostFetchScript.unlimitedBytes))
            self.expires = expires
            self.retries = max(0, retries)
            self.limits = limits
            self.expectedSHA256 = expectedSHA256?.lowercased()
        }

        /// For a store that sends no parts: all of it at once, and from 0 again where that breaks off.
        package func inOnePiece(_ version: ObjectVersion) -> Options {
            var options = self
            options.rangeSizeBytes = max(rangeSizeBytes, version.sizeBytes)
            return options
        }
    }

    /// A job that fetches `version` to `path` on whichever host runs it.
    ///
    /// Calling it again with the same version, path and range size makes a job that goes on where an earlier one stopped
    /// (`<path>.reprise-ranges` on the host), with fresh addresses. The final name appears by a rename at the end.
    /// - Throws: `ObjectStorageError` of kind `.configuration` where the store cannot hand out addresses (a folder), or
    ///   the path is not absolute or holds control characters.
    package static func make(
        _ version: ObjectVersion, from store: any ObjectStore, to path: String, options: Options = Options()
    ) async throws -> HostFetchJob {
        guard path.hasPrefix("/"), !path.hasSuffix("/"), !path.unicodeScalars.contains(where: { $0.value < 32 }) else {
            throw ObjectStorageError(.configuration, "\(quoted(path)) cannot be fetched to: the path must be absolute and plain")
        }
        var rangeSize = options.rangeSizeBytes
        while version.sizeBytes / rangeSize >= 1000 { rangeSize *= 2 }
        var addresses: [String] = []
        var headers: [HTTPHeader] = []
        var expires = Date.distantFuture
        var start: Int64 = 0
        while start < version.sizeBytes {
            let range = start..<min(start + rangeSize, version.sizeBytes)
            let isWhole = range.count == version.sizeBytes
            guard let signed = try await store.presign(version, range: isWhole ? nil : range, expires: options.expires) else {
                throw ObjectStorageError(
                    .configuration, "\(store.displayName) cannot be read by another machine",
                    hints: ["fetch to the orchestrator and copy the file to the host"])
            }
            addresses.append(signed.url.reveal())
            headers = signed.headers.filter { $0.name.lowercased() != "range" }
            expires = min(expires, signed.expires)
            start = range.upperBound
        }
        let script = try [settings(version, path, rangeSize, headers, options) + UnwrapLimit.shell, HostFetchText.body, ""].joined(separator: "\n")
        return HostFetchJob(
            script: script, standardInput: Secret(addresses.map { $0 + "\n" }.joined()), expires: expires,
            rangeCount: addresses.count)
    }

    private static func settings(
        _ version: ObjectVersion, _ path: String, _ rangeSize: Int64, _ headers: [HTTPHeader], _ options: Options
    ) throws -> String {
        let lines = headers.map { "header = \"\(configEscaped("\($0.name): \($0.value)"))\"" }
        guard !(version.etag + lines.joined()).unicodeScalars.contains(where: { $0.value < 32 }) else {
            throw ObjectStorageError(.malformedAnswer, "the store's ETag of \(quoted(version.key)) holds control characters")
        }
        let identity = "1 \(version.sizeBytes) \(rangeSize) \(version.etag) \(version.versionID ?? "-")"
        let settings: [(String, String)] = [
            ("target", path), ("identity", identity), ("etag", version.etag), ("headers", lines.joined(separator: "\n")),
            ("expected", options.expectedSHA256 ?? version.sha256 ?? ""), ("expected_md5", version.md5 ?? ""),
            ("unwraps", options.unwraps ? "yes" : "no"),
            ("size", "\(version.sizeBytes)"), ("range_size", "\(rangeSize)"), ("quota", "\(options.quotaBytes)"),
            ("workers", "\(options.parallel)"), ("retries", "\(options.retries)"),
            ("stall_seconds", "\(options.limits.stallSeconds)"), ("least_rate", "\(options.limits.minimumBytesPerSecond)"),
        ]
        return settings.map { "\($0.0)=\(shellQuoted($0.1))\n" }.joined()
    }

    /// Inside the double quotes of a curl config file.
    private static func configEscaped(_ text: String) -> String {
        text.escaping("\\", as: "\\\\").escaping("\"", as: "\\\"")
    }

    // MARK: What the job said

    /// The bytes done and in all, where `line` is one of the script's progress lines.
    package static func progress(_ line: some StringProtocol) -> (doneBytes: Int64, totalBytes: Int64)? {
        let words = line.split(separator: " ")
        guard words.count == 3, words[0] == "reprise-progress", let done = Int64(words[1]), let total = Int64(words[2]) else {
            return nil
        }
        return (done, total)
    }

    /// How a job ended.
    package enum Outcome: Hashable, Sendable {
        case fetched(HostFetchResult)
        /// The addresses ran out: make the job again and start it; finished ranges stayed. The detail is for the log. A
        /// caller that sees this twice without progress in between has another problem than time.
        case expired(detail: String)
        /// The store cannot send parts of the object: make the job again with `Options.inOnePiece`. A job of one piece never ends so.
        case rangesIgnored(detail: String)
    }

    /// Reads the exit status and what the script printed to standard output.
    /// - Throws: a `RepriseError` that names the failure.
    package static func outcome(exitStatus: Int32, output: String, name: String) throws -> Outcome {
        let last = output.split(separator: "\n").last { $0.hasPrefix("{") }.map { Data($0.utf8) } ?? Data()
        let decoder = JSONDecoder()
        if exitStatus == 0, let result = try? decoder.decode(HostFetchResult.self, from: last) { return .fetched(result) }
        let failure = try? decoder.decode(Failure.self, from: last)
        let detail = failure?.detail ?? "it printed no result"
        switch exitStatus {
        case 65:
            throw HostFetchFailed(.contentMismatch, "\(name) has another checksum than expected: \(detail)",
                "fetch it again, and if it stays so use an older backup")
        case 69:
            throw HostFetchFailed(.unreachable, "the host could not fetch \(name): \(detail)",
                "check that the host reaches the store: its network, firewall and proxy")
        case 72:
            throw HostFetchFailed(.noProgram, "the host has no \(detail)", "install it there: apt-get install \(detail)")
        case 73:
            throw HostFetchFailed(.diskFull, "the host could not write \(name): \(detail)",
                "make room on that disk, then: reprise retry; what was fetched is kept")
        case 74: throw HostFetchFailed(.damaged, "\(name) is damaged: \(detail)", "use an older backup")
        case 75: return .expired(detail: detail)
        case 76: throw ObjectChanged(name, detail: detail)
        case 77:
            throw HostFetchFailed(.quota, "\(name) unwraps to more than `most-bytes` of the step allows: \(detail)",
                "this may be a decompression bomb; if it is a true backup, raise `most-bytes`; if not, choose another one")
        case 78: return .rangesIgnored(detail: detail)
        case 79:
            throw HostFetchFailed(.wrongRange, "the store sends other parts of \(name) than it is asked for: \(detail)",
                "look for a proxy or a cache between the host and the store, and go around it")
        case 80:
            throw HostFetchFailed(.noRoom, "the host has no room to unwrap \(name): \(detail)",
                "make room on that disk, or name a place on another one with `to`, then: reprise retry; what was fetched is kept",
                "where half of what is free is too little, and all of it is not, say under `most-bytes` how much may come out of it",
                "if it cannot be that large, it may be a decompression bomb: choose another one")
        default:
            throw HostFetchFailed(.unexpected, "fetching \(name) on the host ended with status \(exitStatus): \(detail)",
                "look at the job's output: reprise logs")
        }
    }

    private struct Failure: Decodable { let detail: String }
}
