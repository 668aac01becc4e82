package import BlockingIO
internal import CLibPQ

extension PostgresConnection {
    /// Bytes gathered before `onChunk` is called.
    private static let chunkBytes = 256 * 1024

    /// Streams `COPY … TO STDOUT`.
    ///
    /// - Parameter onChunk: gets whole rows, at least 256 kB of them but for the last call. It runs on the connection's thread;
    ///   what it throws cancels the COPY and is passed on.
    /// - Returns: the number of rows that the server says it sent. Only after this returned is the copy whole.
    package func copyOut(
        _ sql: String, _ parameters: [PostgresParameter] = [], deadline: Deadline, onChunk: @Sendable ([UInt8]) throws -> Void
    ) async throws -> Int {
        try await withInterrupt { interrupt in
            try exchange(sql, parameters, deadline, interrupt) { handle in
                try beginCopy(handle, PGRES_COPY_OUT, deadline, interrupt)
                var chunk: [UInt8] = []
                chunk.reserveCapacity(Self.chunkBytes + 64 * 1024)
                while try appendRow(handle, to: &chunk, deadline, interrupt) {
                    guard chunk.count >= Self.chunkBytes else { continue }
                    try onChunk(chunk)
                    chunk.removeAll(keepingCapacity: true)
                }
                let rows = try endCopy(handle, deadline, interrupt)
                if !chunk.isEmpty { try onChunk(chunk) }
                return rows
            }
        }
    }

    /// Streams `COPY … FROM STDIN`.
    ///
    /// - Parameter nextChunk: returns bytes in any portions, nil at the end. What it throws makes the COPY fail: no row stays.
    /// - Returns: the number of rows that the server took.
    package func copyIn(
        _ sql: String, deadline: Deadline, nextChunk: @Sendable () throws -> [UInt8]?
    ) async throws -> Int {
        try await withInterrupt { interrupt in
            try exchange(sql, [], deadline, interrupt) { handle in
                try beginCopy(handle, PGRES_COPY_IN, deadline, interrupt)
                do {
                    while let chunk = try nextChunk() {
                        if interrupt.isFired { throw CancellationError() }
                        try put(handle, chunk, deadline, interrupt)
                    }
                } catch {
                    try abandonCopy(handle)
                    throw error
                }
                while true {
                    let state = PQputCopyEnd(handle.pointer, nil)
                    if state == 1 { break }
                    guard state == 0 else { throw lost(handle) }
                    try flush(handle, deadline, interrupt)
                }
                try flush(handle, deadline, interrupt)
                return try endCopy(handle, deadline, interrupt)
            }
        }
    }

    private func beginCopy(
        _ handle: ConnectionHandle, _ wanted: ExecStatusType, _ deadline: Deadline, _ interrupt: Interrupt
    ) throws {
        guard let result = try nextResult(handle, deadline, interrupt) else {
            throw PostgresConnectionError.lost(target.place, "no answer to COPY")
        }
        if result.status == wanted { return }
        let error: any Error =
            switch result.status {
            case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE: result.error(at: target.place)
            default: PostgresConnectionError.misuse("the statement is not the COPY that was expected")
            }
        while let more = try nextResult(handle, deadline, interrupt) { _ = more.status }
        throw error
    }

    /// - Returns: false at the end of the data.
    private func appendRow(
        _ handle: ConnectionHandle, to chunk: inout [UInt8], _ deadline: Deadline, _ interrupt: Interrupt
    ) throws -> Bool {
        while true {
            var row: UnsafeMutablePointer<CChar>?
            let count = PQgetCopyData(handle.pointer, &row, 1)
            defer { PQfreemem(row) }
            if count > 0, let row {
                chunk.append(contentsOf: UnsafeRawBufferPointer(start: row, count: Int(count)))
                return true
            }
            if count == -1 { return false }
            guard count == 0 else { throw lost(handle) }
            _ = try wait(handle, .read, deadline, interrupt)
            guard PQconsumeInput(handle.pointer) == 1 else { throw lost(handle) }
        }
    }

    private func put(_ handle: ConnectionHandle, _ chunk: [UInt8], _ deadline: Deadline, _ interrupt: Interrupt) throws {
        // Portions bound libpq's buffer: it grows by what it could not yet send.
        for start in stride(from: 0, to: chunk.count, by: Self.chunkBytes) {
            let portion = chunk[start..<min(start + Self.chunkBytes, chunk.count)]
            while true {
                let state = portion.withUnsafeBytes {
                    PQputCopyData(handle.pointer, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32($0.count))
                }
                if state == 1 { break }
                guard state == 0 else { throw lost(handle) }
                try flush(handle, deadline, interrupt)
            }
            try flush(handle, deadline, interrupt)
        }
    }

    /// Tells the server to forget the rows; the drain that follows a failure reads its answer.
    private func abandonCopy(_ handle: ConnectionHandle) throws {
        guard PQputCopyEnd(handle.pointer, "given up by the client") >= 0 else { throw lost(handle) }
    }

    private func endCopy(_ handle: ConnectionHandle, _ deadline: Deadline, _ interrupt: Interrupt) throws -> Int {
        var rows: Int?
        var failure: (any Error)?
        while let result = try nextResult(handle, deadline, interrupt) {
            if result.status == PGRES_COMMAND_OK {
                rows = result.commandTag.split(separator: " ").last.flatMap { Int($0) }
            } else {
                failure = failure ?? result.error(at: target.place)
            }
        }
        if let failure { throw failure }
        guard let rows else { throw PostgresConnectionError.lost(target.place, "COPY ended without its row count") }
        return rows
    }
}
