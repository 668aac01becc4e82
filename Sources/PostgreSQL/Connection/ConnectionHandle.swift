internal import BlockingIO
internal import CLibPQ
internal import Dispatch
internal import Foundation

/// Owns a `PGconn`, also one whose connecting failed, and finishes it.
///
/// `@unchecked Sendable`: the pointer is used only by the actor that made the handle, on its one thread, and by `deinit`, which
/// runs when nobody else can.
final class ConnectionHandle: @unchecked Sendable {
    let pointer: OpaquePointer
    /// What the server said beside its answers. libpq calls the receiver only from within calls on this connection.
    fileprivate(set) var notices: [PostgresNotice] = []
    private static let noticeLimit = 1000

    init(_ pointer: OpaquePointer) {
        self.pointer = pointer
        PQsetNoticeReceiver(
            pointer,
            { context, result in
                guard let context, let result else { return }
                Unmanaged<ConnectionHandle>.fromOpaque(context).takeUnretainedValue().note(result)
            }, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit { PQfinish(pointer) }

    func takeNotices() -> [PostgresNotice] {
        defer { notices = [] }
        return notices
    }

    private func note(_ result: OpaquePointer) {
        guard notices.count < Self.noticeLimit else { return }
        notices.append(
            PostgresNotice(
                severity: field(result, "V") ?? field(result, "S") ?? "NOTICE", sqlState: field(result, "C") ?? "00000",
                message: Redaction.withoutPasswords(field(result, "M") ?? "")))
    }

    var lastError: String { String(cString: PQerrorMessage(pointer)) }
}

/// What a server says beside its answers. At most 1,000 are kept between two calls of `takeNotices`.
package struct PostgresNotice: Sendable, Hashable {
    package let severity: String
    package let sqlState: String
    package let message: String
}

/// Owns a `PGresult`.
struct ResultHandle: ~Copyable {
    let pointer: OpaquePointer
    deinit { PQclear(pointer) }

    var status: ExecStatusType { PQresultStatus(pointer) }
    var commandTag: String { String(cString: PQcmdStatus(pointer)) }

    func error(at place: String) -> any Error {
        let message = field(pointer, "M") ?? String(cString: PQresultErrorMessage(pointer))
        guard let state = field(pointer, "C") else { return PostgresConnectionError.lost(place, message) }
        return PostgresError(
            sqlState: state, severity: field(pointer, "V") ?? field(pointer, "S") ?? "ERROR", primary: Redaction.oneLine(message),
            detail: field(pointer, "D"), hint: field(pointer, "H"), schema: field(pointer, "s"), table: field(pointer, "t"),
            constraint: field(pointer, "n"), context: field(pointer, "W"), place: place)
    }

    func rows() -> PostgresResult {
        let width = PQnfields(pointer)
        let columns = (0..<width).map { String(cString: PQfname(pointer, $0)) }
        let values = (0..<PQntuples(pointer)).map { row in
            (0..<width).map { column -> String? in
                guard PQgetisnull(pointer, row, column) == 0, let start = PQgetvalue(pointer, row, column) else { return nil }
                let bytes = UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(pointer, row, column)))
                return String(decoding: bytes, as: UTF8.self)
            }
        }
        return PostgresResult(columns: columns, values: values, commandTag: commandTag)
    }
}

/// A field of an error or notice, by its letter in the protocol (PostgreSQL manual, 55.8).
private func field(_ result: OpaquePointer, _ letter: Unicode.Scalar) -> String? {
    PQresultErrorField(result, Int32(letter.value)).map { String(cString: $0) }
}

/// A request to cancel what a connection is doing. libpq's call blocks without a time limit, so it has a thread of its own.
struct CancelRequest {
    private let delivered = DispatchSemaphore(value: 0)

    /// Sends the request for `connection`'s statement and returns at once; nil where there is no connection to cancel.
    static func send(for connection: ConnectionHandle) -> CancelRequest? {
        guard let cancel = PQgetCancel(connection.pointer) else { return nil }
        let box = CancelBox(pointer: cancel)
        let request = CancelRequest()
        let delivered = request.delivered
        let thread = Thread {
            var message = [CChar](repeating: 0, count: 256)
            _ = PQcancel(box.pointer, &message, Int32(message.count))
            PQfreeCancel(box.pointer)
            delivered.signal()
        }
        thread.name = "pg-cancel"
        thread.start()
        return request
    }

    /// PQcancel returns once the server has closed the request's connection, which is after it has signalled the backend.
    func waitUntilDelivered(_ deadline: Deadline) -> Bool {
        delivered.wait(timeout: .now() + .milliseconds(Int(deadline.remainingMilliseconds))) == .success
    }

    /// `@unchecked Sendable`: a copy of the address and key, handed to one thread, which alone uses and frees it.
    private struct CancelBox: @unchecked Sendable { let pointer: OpaquePointer }
}
