internal import Foundation
internal import Glibc

/// The sidecar `<path>.reprise-fetch`: which version is being fetched, and which parts of it are finished.
///
/// Text, one record a line, only ever appended to: a header, then `part N` and at the end `whole SHA256`. A torn last line
/// does not count. Held under a lock by the process that fetches; the kernel frees the lock when that process dies.
final class FetchState: Sendable {
    struct Header: Codable, Equatable {
        let version: ObjectVersion
        let partSizeBytes: Int64
        /// Set where parts are counted before they are on the disk: they then count until the machine starts anew.
        let bootID: String?

        func counts(for version: ObjectVersion) -> Bool {
            self.version == version && partSizeBytes > 0 && (bootID == nil || bootID == FetchState.currentBootID)
        }
    }

    static let currentBootID: String =
        (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8))?.trimmed ?? "unknown"

    struct Content {
        var header: Header?
        var parts: Set<Int> = []
        var wholeSHA256: String?
    }

    private let file: File

    /// Opens or creates the sidecar and takes its lock.
    /// - Throws: `FetchBusy` where another process has it.
    init(path: String, for target: String) throws {
        while true {
            let opened = try File(path, O_RDWR | O_CREAT | O_APPEND)
            guard flock(opened.descriptor, LOCK_EX | LOCK_NB) == 0 else {
                if errno == EINTR { continue }
                throw errno == EWOULDBLOCK ? FetchBusy(path: target) as any Error : FileFailure.error("lock", path, errno)
            }
            // Whoever had the lock before may have removed the file that we now hold.
            var named = stat()
            let held = try opened.status()
            if stat(path, &named) == 0, named.st_ino == held.st_ino, named.st_dev == held.st_dev {
                file = opened
                return
            }
        }
    }

    /// Lets the lock go at once: the last reference to the descriptor may live a little longer on some thread.
    func release() { _ = flock(file.descriptor, LOCK_UN) }

    func load() throws -> Content {
        let size = Int(try file.status().st_size)
        guard size <= 16 << 20 else { return Content() }
        var bytes = [UInt8](repeating: 0, count: size)
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        var content = Content()
        let complete = bytes.prefix(count).lastIndex(of: 0x0A).map { bytes[...$0] } ?? []
        for (index, line) in complete.split(separator: 0x0A).enumerated() {
            let words = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 1)
            guard words.count == 2 else { return Content() }
            switch (index, words[0]) {
            case (0, "reprise-fetch-1"):
                content.header = try? JSONDecoder().decode(Header.self, from: Data(words[1].utf8))
                if content.header == nil { return Content() }
            case (1..., "part"):
                guard let part = Int(words[1]) else { return Content() }
                content.parts.insert(part)
            case (1..., "whole"): content.wholeSHA256 = String(words[1])
            // Not of ours, or torn in the middle: nothing of it is believed.
            default: return Content()
            }
        }
        // A torn tail is cut off, or the next record would be glued to it.
        if complete.count < count { try file.truncate(to: Int64(complete.count)) }
        return content
    }

    func begin(_ header: Header, synchronize: Bool) throws {
        try file.truncate(to: 0)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try append("reprise-fetch-1 \(String(decoding: try encoder.encode(header), as: UTF8.self))\n", synchronize)
    }

    func record(parts: [Int], synchronize: Bool) throws {
        try append(parts.map { "part \($0)\n" }.joined(), synchronize)
    }

    func record(wholeSHA256: String, synchronize: Bool) throws { try append("whole \(wholeSHA256)\n", synchronize) }

    private func append(_ text: String, _ synchronize: Bool) throws {
        var text = text
        // With O_APPEND the offset is the kernel's; one write keeps a record whole.
        try text.withUTF8 { try file.write(UnsafeRawBufferPointer($0), at: 0) }
        if synchronize { try file.synchronize() }
    }
}
