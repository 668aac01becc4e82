internal import Crypto
internal import Glibc

/// The three files of one fetch: the sidecar, the partial file, and the file with the final name.
///
/// Every method blocks; they run on threads of their own.
final class FetchFiles: Sendable {
    let version: ObjectVersion
    let path: String
    let options: FetchOptions
    private let state: FetchState
    let partial: File

    static func partialPath(_ path: String) -> String { path + ".reprise-partial" }
    static func statePath(_ path: String) -> String { path + ".reprise-fetch" }

    init(version: ObjectVersion, path: String, options: FetchOptions) throws {
        self.version = version
        self.path = path
        self.options = options
        var target = stat()
        if stat(path, &target) == 0, target.st_mode & S_IFMT == S_IFDIR { throw FileFailure.error("write", path, EISDIR) }
        state = try FetchState(path: Self.statePath(path), for: path)
        // Hidden behind the sidecar's lock: nobody else writes it.
        partial = try File(Self.partialPath(path), O_RDWR | O_CREAT)
    }

    /// What an earlier attempt left that still counts.
    enum Start: Sendable {
        case finished(FetchedFile)
        case fetch(finished: Set<Int>, partSizeBytes: Int64)
    }

    /// Decides where to begin, and reserves the room.
    func start(_ isCancelled: Flag) throws -> Start {
        let content = try state.load()
        if let whole = try alreadyWhole(content, isCancelled) { return .finished(whole) }
        var finished: Set<Int> = []
        // Larger parts for larger objects: each costs a round trip, and what a kill may lose stays small beside the whole.
        var partSize = max(options.partSizeBytes, min(version.sizeBytes / 100, 64 << 20))
        while version.sizeBytes / partSize >= 10_000 { partSize *= 2 }
        if let header = content.header, header.counts(for: version), content.wholeSHA256 == nil,
            Int64(try partial.status().st_size) == version.sizeBytes
        {
            finished = content.parts
            partSize = header.partSizeBytes
            // Parts that are not flushed must not be counted under a header that says they are.
            if header.bootID == nil, !isDurable {
                try begin(partSizeBytes: partSize)
                try state.record(parts: finished.sorted(), synchronize: false)
            }
        } else {
            try partial.truncate(to: 0)
            try begin(partSizeBytes: partSize)
        }
        try reserve()
        return .fetch(finished: finished, partSizeBytes: partSize)
    }

    private var isDurable: Bool { options.durability == .powerLoss }

    /// A crash after the last rename leaves a whole file under its name: that is not fetched again.
    private func alreadyWhole(_ content: FetchState.Content, _ isCancelled: Flag) throws -> FetchedFile? {
        let recorded = content.header?.version == version ? content.wholeSHA256 : nil
        guard let expected = options.expectedSHA256 ?? recorded ?? version.sha256,
            let file = try? File(path, O_RDONLY | O_NONBLOCK), let status = try? file.status(),
            status.st_mode & S_IFMT == S_IFREG, Int64(status.st_size) == version.sizeBytes
        else { return nil }
        let actual = try Self.sha256(of: file, isCancelled)
        guard actual == expected else { return nil }
        try File.remove(Self.partialPath(path))
        try removeRecord()
        return FetchedFile(
            path: path, sizeBytes: version.sizeBytes, sha256: actual, etag: version.etag, reusedBytes: version.sizeBytes,
            retries: 0)
    }

    private func reserve() throws {
        guard options.reservesRoom else { return try partial.truncate(to: version.sizeBytes) }
        let allocated = Int64(try partial.status().st_blocks) * 512
        let needed = version.sizeBytes - allocated
        if needed > 0, let free = File.freeBytes(at: path), free < needed {
            throw FileFailure.noRoom(path, needed: needed, free: free)
        }
        try partial.preallocate(version.sizeBytes)
        try partial.truncate(to: version.sizeBytes)
    }

    /// Nothing of what is there counts any more.
    func begin(partSizeBytes: Int64) throws {
        let header = FetchState.Header(
            version: version, partSizeBytes: partSizeBytes, bootID: isDurable ? nil : FetchState.currentBootID)
        try state.begin(header, synchronize: isDurable)
    }

    /// Counts finished parts; where durability asks for it, only after their bytes are on the disk.
    func record(parts: [Int]) throws {
        guard !parts.isEmpty else { return }
        if isDurable { try partial.synchronize() }
        try state.record(parts: parts, synchronize: isDurable)
    }

    /// Only where a flush follows: what need not be durable is left to the kernel.
    func startWriteback(_ range: Range<Int64>) {
        if isDurable { partial.startWriteback(range) }
    }

    func synchronizeIfDurable() throws {
        if isDurable { try partial.synchronize() }
    }

    /// Gives the file its name. The caller has checked the hash, and flushed where durability asks for it.
    func finish(sha256: String) throws {
        try state.record(wholeSHA256: sha256, synchronize: isDurable)
        try File.rename(Self.partialPath(path), to: path)
        if isDurable { try File.synchronizeFolder(of: path) }
        try removeRecord()
    }

    /// The file is whole: what was noted of it serves nobody but a caller who wants to find it so.
    private func removeRecord() throws {
        if !options.keepsRecord { try File.remove(Self.statePath(path)) }
    }

    /// To be called at the end of every attempt, however it ended.
    func release() { state.release() }

    /// What is there is of no use to any later attempt.
    func removeRemains() throws {
        try File.remove(Self.partialPath(path))
        try File.remove(Self.statePath(path))
    }

    static func sha256(of file: File, _ isCancelled: Flag) throws -> String {
        var hash = SHA256()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 4096)
        defer { buffer.deallocate() }
        var offset: Int64 = 0
        while true {
            if isCancelled.isRaised { throw CancellationError() }
            let count = try file.read(into: buffer, at: offset)
            hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer.prefix(count)))
            offset += Int64(count)
            if count < buffer.count { return Percent.lowercaseHex(hash.finalize()) }
        }
    }
}
