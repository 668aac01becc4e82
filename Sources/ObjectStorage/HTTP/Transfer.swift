internal import CLibCurl
internal import Glibc
internal import Synchronization

/// What libcurl's callbacks fill while one request is under way.
///
/// Only the worker's thread touches it: libcurl calls back from inside `curl_multi_perform` on that thread.
final class Transfer {
    private let decide: (HTTPResponseHead) throws -> BodyDisposition
    private let sink: ByteSink
    private var disposition: BodyDisposition?
    private var status = 0
    private var headers: [HTTPHeader] = []
    private var headerBytes = 0
    private(set) var collected: [UInt8] = []
    private(set) var deliveredBytes: Int64 = 0
    /// What our own side threw inside a callback; it outranks what libcurl then reports.
    private(set) var failure: (any Error)?

    init(decide: @escaping (HTTPResponseHead) throws -> BodyDisposition, sink: @escaping ByteSink) {
        self.decide = decide
        self.sink = sink
    }

    var head: HTTPResponseHead { HTTPResponseHead(status: status, headers: headers) }

    /// One line of the answer's head.
    func header(_ line: UnsafeRawBufferPointer) -> Bool {
        headerBytes += line.count
        guard headerBytes < 256 * 1024 else { return fail(ObjectStorageError(.malformedAnswer, "the answer's head is too long")) }
        let text = String(decoding: line, as: UTF8.self).trimmed
        if text.hasPrefix("HTTP/") {
            // A new head: what came before was 100 Continue, or a proxy's answer to CONNECT.
            headers = []
            let words = text.split(separator: " ", maxSplits: 2)
            status = words.count > 1 ? Int(words[1]) ?? 0 : 0
        } else if let colon = text.firstIndex(of: ":") {
            headers.append(HTTPHeader(text[..<colon].lowercased(), text[text.index(after: colon)...].trimmed))
        }
        return true
    }

    func body(_ bytes: UnsafeRawBufferPointer) -> Bool {
        do {
            switch try settledDisposition() {
            case .deliver(let limit):
                guard deliveredBytes + Int64(bytes.count) <= limit else {
                    throw ObjectStorageError(.wrongRange, "the store sent more than the \(limit) bytes that were asked for")
                }
                try sink(bytes)
                deliveredBytes += Int64(bytes.count)
            case .collect(let limit):
                guard collected.count + bytes.count <= limit else {
                    throw ObjectStorageError(.malformedAnswer, "the answer is longer than \(limit) bytes")
                }
                collected += bytes
            }
            return true
        } catch {
            return fail(error)
        }
    }

    /// Decides also where no body came.
    func finish() {
        guard failure == nil else { return }
        do { _ = try settledDisposition() } catch { failure = error }
    }

    private func settledDisposition() throws -> BodyDisposition {
        if let disposition { return disposition }
        let decided = try decide(head)
        disposition = decided
        return decided
    }

    private func fail(_ error: any Error) -> Bool {
        failure = error
        return false
    }

    static let onHeader: reprise_curl_data_callback = { pointer, size, count, context in
        Transfer.receive(pointer, size * count, context) { $0.header($1) }
    }

    static let onBody: reprise_curl_data_callback = { pointer, size, count, context in
        Transfer.receive(pointer, size * count, context) { $0.body($1) }
    }

    private static func receive(
        _ pointer: UnsafeMutablePointer<CChar>?, _ count: Int, _ context: UnsafeMutableRawPointer?,
        _ handle: (Transfer, UnsafeRawBufferPointer) -> Bool
    ) -> Int {
        guard let context else { return 0 }
        let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
        // Any count but the given one tells libcurl to stop.
        return handle(transfer, UnsafeRawBufferPointer(start: pointer, count: count)) ? count : count &+ 1
    }
}
