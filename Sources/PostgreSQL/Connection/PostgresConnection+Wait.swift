internal import BlockingIO
internal import CLibPQ
internal import Foundation

// How a statement is sent and waited for. Everything here runs on the connection's own thread and may block there.
extension PostgresConnection {
    func run(
        _ sql: String, _ parameters: [PostgresParameter], _ deadline: Deadline, _ interrupt: Interrupt
    ) throws -> PostgresResult {
        try exchange(sql, parameters, deadline, interrupt) { handle in
            var answer: PostgresResult?
            var failure: (any Error)?
            while let result = try nextResult(handle, deadline, interrupt) {
                switch result.status {
                case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: answer = result.rows()
                case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                    throw PostgresConnectionError.misuse("COPY was sent as a plain statement: use copyOut or copyIn")
                default: failure = failure ?? result.error(at: target.place)
                }
            }
            if let failure { throw failure }
            guard let answer else { throw PostgresConnectionError.lost(target.place, "no answer to a statement") }
            return answer
        }
    }

    /// Sends a statement, lets `receive` read all its results, and leaves the session idle or closed whatever happens.
    func exchange<Value>(
        _ sql: String, _ parameters: [PostgresParameter], _ deadline: Deadline, _ interrupt: Interrupt,
        receive: (ConnectionHandle) throws -> Value
    ) throws -> Value {
        guard let handle else { throw PostgresConnectionError.closed(target.place) }
        try check(sql, parameters)
        if interrupt.isFired { throw CancellationError() }
        guard send(handle, sql, parameters) == 1 else { throw lost(handle) }
        do {
            try flush(handle, deadline, interrupt)
            return try receive(handle)
        } catch {
            settle(handle, after: error)
            throw error
        }
    }

    private func check(_ sql: String, _ parameters: [PostgresParameter]) throws {
        guard !sql.utf8.contains(0) else { throw InvalidSQLName(message: "a statement holds the NUL character") }
        for case .text(let value) in parameters where value.utf8.contains(0) {
            throw InvalidSQLName(message: "a parameter holds the NUL character")
        }
    }

    private func send(_ handle: ConnectionHandle, _ sql: String, _ parameters: [PostgresParameter]) -> Int32 {
        let copies: [UnsafeMutablePointer<CChar>?] = parameters.map { parameter in
            if case .text(let value) = parameter { strdup(value) } else { nil }
        }
        defer { copies.forEach { free($0) } }
        return copies.map { UnsafePointer($0) }.withUnsafeBufferPointer {
            PQsendQueryParams(handle.pointer, sql, Int32(parameters.count), nil, $0.baseAddress, nil, nil, 0)
        }
    }

    /// Sends what libpq has buffered, reading meanwhile, so that neither side waits for the other for ever.
    func flush(_ handle: ConnectionHandle, _ deadline: Deadline, _ interrupt: Interrupt) throws {
        while true {
            let state = PQflush(handle.pointer)
            if state == 0 { return }
            guard state == 1 else { throw lost(handle) }
            let ready = try wait(handle, [.read, .write], deadline, interrupt)
            if ready.contains(.read), PQconsumeInput(handle.pointer) != 1 { throw lost(handle) }
        }
    }

    /// The next result of the statement, or nil after the last.
    func nextResult(_ handle: ConnectionHandle, _ deadline: Deadline, _ interrupt: Interrupt) throws -> ResultHandle? {
        while PQisBusy(handle.pointer) == 1 {
            _ = try wait(handle, .read, deadline, interrupt)
            guard PQconsumeInput(handle.pointer) == 1 else { throw lost(handle) }
        }
        return PQgetResult(handle.pointer).map { ResultHandle(pointer: $0) }
    }

    func wait(
        _ handle: ConnectionHandle, _ readiness: Interrupt.Readiness, _ deadline: Deadline, _ interrupt: Interrupt
    ) throws -> Interrupt.Readiness {
        try interrupt.wait(
            for: [(PQsocket(handle.pointer), readiness)], until: deadline, operation: "an answer of \(target.place)")[0]
    }

    /// A server that ends a session says why (terminated, shut down); libpq keeps that only as text.
    func lost(_ handle: ConnectionHandle) -> PostgresConnectionError {
        let reason = handle.lastError
        self.handle = nil
        return .lost(target.place, reason.isEmpty ? "the socket was closed" : reason)
    }

    /// Brings the session back to idle after a failure: asks the server to cancel what still runs and drains its answer.
    private func settle(_ failed: ConnectionHandle, after error: any Error) {
        guard handle === failed else { return }
        if PQstatus(failed.pointer) == CONNECTION_BAD {
            handle = nil
            return
        }
        guard PQtransactionStatus(failed.pointer) == PQTRANS_ACTIVE else { return }
        guard let request = CancelRequest.send(for: failed) else {
            handle = nil
            return
        }
        let deadline = Deadline(after: Self.drainGrace)
        do {
            try drain(failed, deadline, Interrupt())
            // A request that arrived later would cancel the next statement.
            guard request.waitUntilDelivered(deadline) else { throw lost(failed) }
        } catch {
            handle = nil
        }
    }

    private func drain(_ handle: ConnectionHandle, _ deadline: Deadline, _ interrupt: Interrupt) throws {
        while let result = try nextResult(handle, deadline, interrupt) {
            switch result.status {
            case PGRES_COPY_OUT: try discardCopy(handle, deadline, interrupt)
            case PGRES_COPY_IN:
                guard PQputCopyEnd(handle.pointer, "given up") == 1 else { throw lost(handle) }
                try flush(handle, deadline, interrupt)
            case PGRES_COPY_BOTH: throw lost(handle)
            default: break
            }
        }
        guard PQtransactionStatus(handle.pointer) != PQTRANS_ACTIVE else { throw lost(handle) }
    }

    private func discardCopy(_ handle: ConnectionHandle, _ deadline: Deadline, _ interrupt: Interrupt) throws {
        while true {
            var row: UnsafeMutablePointer<CChar>?
            let count = PQgetCopyData(handle.pointer, &row, 1)
            PQfreemem(row)
            if count < 0 { return }
            if count == 0 {
                _ = try wait(handle, .read, deadline, interrupt)
                guard PQconsumeInput(handle.pointer) == 1 else { throw lost(handle) }
            }
        }
    }
}
