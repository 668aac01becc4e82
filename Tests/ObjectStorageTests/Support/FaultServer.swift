import Foundation
import Glibc
import Synchronization

/// A small S3 server on loopback that does wrong what a test tells it to. Each connection has a thread of its own.
///
/// It checks every signature itself, from the bytes of the request, with code that shares nothing with the signer.
///
/// `@unchecked Sendable`: what changes is behind `state`; the listening socket is closed once, by `stop`.
final class FaultServer: @unchecked Sendable {
    struct Object: Sendable {
        var body: [UInt8]
        var etag: String
        var versionID: String?
        var headers: [String: String] = [:]
    }

    struct Request: Sendable {
        let method: String
        /// As it stood in the request line.
        let target: String
        /// Names in lowercase.
        let headers: [String: String]

        var path: String { String(target.prefix { $0 != "?" }).removingPercentEncoding ?? "" }
        var rawPath: String { String(target.prefix { $0 != "?" }) }
        var rawQuery: String { target.firstIndex(of: "?").map { String(target[target.index(after: $0)...]) } ?? "" }
        var query: [String: String] {
            var result: [String: String] = [:]
            for pair in rawQuery.split(separator: "&") {
                let halves = pair.split(separator: "=", maxSplits: 1).map { String($0).removingPercentEncoding ?? "" }
                result[halves[0]] = halves.count > 1 ? halves[1] : ""
            }
            return result
        }
        var range: ClosedRange<Int>? {
            guard let value = headers["range"], value.hasPrefix("bytes=") else { return nil }
            let ends = value.dropFirst(6).split(separator: "-").compactMap { Int($0) }
            return ends.count == 2 && ends[0] <= ends[1] ? ends[0]...ends[1] : nil
        }
    }

    enum Fault: Sendable {
        case status(Int, code: String = "", headers: [String: String] = [:], xml: String? = nil)
        case ignoreRange
        case contentRange(String)
        /// Says the full length, sends this much, closes.
        case truncate(after: Int)
        case flip(at: Int)
        /// Sends this much, then nothing, until the client goes.
        case stall(after: Int)
        /// Bytes a tenth of a second.
        case drip(Int)
        case reset
        /// Answers as if there were no If-Match.
        case ignorePrecondition
        /// More bytes than were asked for.
        case excess
    }

    private struct State {
        var objects: [String: Object] = [:]
        var requests: [Request] = []
        var signatureFailures: [String] = []
        var connections: Set<Int32> = []
        var isStopped = false
        var pageSize = 1000
        var fault: @Sendable (Request, Int) -> Fault? = { _, _ in nil }
    }

    static let accessKey = "AKIDTEST"
    static let secretKey = "canary+Secret/Key"
    let bucket = "backups"
    let port: Int
    private let listener: Int32
    private let state = Mutex(State())

    init() throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        _ = fcntl(listener, F_SETFD, FD_CLOEXEC)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard result else { throw POSIXError(.EADDRNOTAVAIL) }
        port = Int(UInt16(bigEndian: address.sin_port))
        signal(SIGPIPE, SIG_IGN)
        let thread = Thread { [self] in acceptAll() }
        thread.start()
    }

    var endpoint: String { "http://127.0.0.1:\(port)" }

    func stop() {
        let open = state.withLock { state in
            state.isStopped = true
            return state.connections
        }
        shutdown(listener, Int32(SHUT_RDWR))
        for connection in open { shutdown(connection, Int32(SHUT_RDWR)) }
        close(listener)
    }

    func put(_ key: String, _ body: [UInt8], etag: String? = nil, versionID: String? = nil, headers: [String: String] = [:]) {
        state.withLock {
            $0.objects["/\(bucket)/\(key)"] = Object(
                body: body, etag: etag ?? "\"\(body.count)-\(body.hashValue)\"", versionID: versionID, headers: headers)
        }
    }

    func remove(_ key: String) { state.withLock { $0.objects["/\(bucket)/\(key)"] = nil } }

    /// The number is that of the request since the server began, from 1.
    func onRequest(_ fault: @escaping @Sendable (Request, Int) -> Fault?) { state.withLock { $0.fault = fault } }

    func setPageSize(_ size: Int) { state.withLock { $0.pageSize = size } }
    var requests: [Request] { state.withLock { $0.requests } }
    var signatureFailures: [String] { state.withLock { $0.signatureFailures } }

    // MARK: Connections

    private func acceptAll() {
        while true {
            let connection = accept(listener, nil, nil)
            if connection < 0 { return }
            _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
            let isStopped = state.withLock { state in
                if !state.isStopped { state.connections.insert(connection) }
                return state.isStopped
            }
            if isStopped {
                close(connection)
                return
            }
            let thread = Thread { [self] in
                while serve(connection) {}
                state.withLock { _ = $0.connections.remove(connection) }
                close(connection)
            }
            thread.start()
        }
    }

    /// One request. False where the connection is over.
    private func serve(_ connection: Int32) -> Bool {
        guard let request = receive(connection) else { return false }
        let (number, fault) = state.withLock { state in
            state.requests.append(request)
            return (state.requests.count, state.fault)
        }
        if let problem = SignatureCheck.problem(request, accessKey: Self.accessKey, secretKey: Self.secretKey) {
            state.withLock { $0.signatureFailures.append("\(request.method) \(request.rawPath): \(problem)") }
            return answer(connection, request, 403, Self.errorXML("SignatureDoesNotMatch"))
        }
        let planned = fault(request, number)
        if case .reset? = planned {
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
            return false
        }
        if case .status(let status, let code, let headers, let xml)? = planned {
            return answer(connection, request, status, xml ?? (code.isEmpty ? "" : Self.errorXML(code)), headers)
        }
        if request.path == "/\(bucket)" { return list(connection, request) }
        guard request.path.hasPrefix("/\(bucket)/") else {
            return answer(connection, request, 404, Self.errorXML("NoSuchBucket"))
        }
        guard let object = state.withLock({ $0.objects[request.path] }) else {
            return answer(connection, request, 404, Self.errorXML("NoSuchKey"))
        }
        return give(connection, request, object, planned)
    }

    private func give(_ connection: Int32, _ request: Request, _ object: Object, _ fault: Fault?) -> Bool {
        var isConditional = true
        if case .ignorePrecondition? = fault { isConditional = false }
        if isConditional, let wanted = request.headers["if-match"], wanted != object.etag {
            return answer(connection, request, 412, Self.errorXML("PreconditionFailed"))
        }
        if let wanted = request.query["versionId"], wanted != object.versionID {
            return answer(connection, request, 404, Self.errorXML("NoSuchVersion"))
        }
        var headers = object.headers
        headers["ETag"] = object.etag
        headers["Last-Modified"] = "Mon, 23 Nov 2026 02:14:07 GMT"
        if let id = object.versionID { headers["x-amz-version-id"] = id }
        var body = object.body[...]
        var status = 200
        var ignoresRange = false
        if case .ignoreRange? = fault { ignoresRange = true }
        if let range = request.range, !ignoresRange {
            guard range.lowerBound < object.body.count else {
                headers["Content-Range"] = "bytes */\(object.body.count)"
                return answer(connection, request, 416, Self.errorXML("InvalidRange"), headers)
            }
            let last = min(range.upperBound, object.body.count - 1)
            body = object.body[range.lowerBound...last]
            status = 206
            headers["Content-Range"] = "bytes \(range.lowerBound)-\(last)/\(object.body.count)"
        }
        var bytes = Array(body)
        if case .contentRange(let text)? = fault { headers["Content-Range"] = text }
        if case .flip(let offset)? = fault, offset < bytes.count { bytes[offset] ^= 1 }
        if case .excess? = fault { bytes += [1, 2, 3] }
        guard send(connection, Self.head(status, headers, length: bytes.count)) else { return false }
        if request.method == "HEAD" { return true }
        return sendBody(connection, bytes, fault)
    }

    private func sendBody(_ connection: Int32, _ bytes: [UInt8], _ fault: Fault?) -> Bool {
        switch fault {
        case .truncate(let count)?:
            _ = send(connection, Array(bytes.prefix(count)))
            return false
        case .stall(let count)?:
            guard send(connection, Array(bytes.prefix(count))) else { return false }
            // Until the client goes, or the server stops.
            var byte: UInt8 = 0
            while recv(connection, &byte, 1, 0) > 0 {}
            return false
        case .drip(let count)?:
            var rest = bytes[...]
            while !rest.isEmpty {
                guard send(connection, Array(rest.prefix(count))) else { return false }
                rest = rest.dropFirst(count)
                usleep(100_000)
            }
            return true
        default: return send(connection, bytes)
        }
    }

    private func list(_ connection: Int32, _ request: Request) -> Bool {
        let prefix = request.query["prefix"] ?? ""
        let (all, pageSize) = state.withLock { ($0.objects, $0.pageSize) }
        let root = "/\(bucket)/"
        // Not in order: sorting is the client's own promise.
        let keys = all.keys.map { String($0.dropFirst(root.count)) }.filter { $0.hasPrefix(prefix) }.sorted(by: >)
        let start = request.query["continuation-token"].flatMap { Int($0) } ?? 0
        let page = keys.dropFirst(start).prefix(pageSize)
        let isLast = start + page.count >= keys.count
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~/")
        let entries = page.map { key -> String in
            let object = all[root + key]
            let encoded = key.addingPercentEncoding(withAllowedCharacters: allowed) ?? ""
            return "<Contents><Key>\(encoded)</Key><LastModified>2026-11-23T02:14:07.000Z</LastModified>"
                + "<ETag>\(object?.etag.replacingOccurrences(of: "\"", with: "&quot;") ?? "")</ETag>"
                + "<Size>\(object?.body.count ?? 0)</Size><StorageClass>STANDARD</StorageClass></Contents>"
        }
        let next = isLast ? "" : "<NextContinuationToken>\(start + page.count)</NextContinuationToken>"
        return answer(
            connection, request, 200,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                + "<Name>\(bucket)</Name><EncodingType>url</EncodingType><IsTruncated>\(!isLast)</IsTruncated>"
                + next + entries.joined() + "</ListBucketResult>")
    }

    static func errorXML(_ code: String) -> String {
        "<?xml version=\"1.0\"?><Error><Code>\(code)</Code><Message>m</Message><StringToSign>canary-signed</StringToSign></Error>"
    }

    private func answer(
        _ connection: Int32, _ request: Request, _ status: Int, _ xml: String, _ headers: [String: String] = [:]
    ) -> Bool {
        let body = Array(xml.utf8)
        var headers = headers
        headers["Content-Type"] = "application/xml"
        return send(connection, Self.head(status, headers, length: body.count))
            && (request.method == "HEAD" || send(connection, body))
    }

    private static func head(_ status: Int, _ headers: [String: String], length: Int) -> [UInt8] {
        var text = "HTTP/1.1 \(status) X\r\nContent-Length: \(length)\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        return Array((text + "\r\n").utf8)
    }

    private func receive(_ connection: Int32) -> Request? {
        var bytes: [UInt8] = []
        while !bytes.suffix(4).elementsEqual([13, 10, 13, 10]) {
            var byte: UInt8 = 0
            guard bytes.count < 65_536, recv(connection, &byte, 1, 0) == 1 else { return nil }
            bytes.append(byte)
        }
        let lines = String(decoding: bytes, as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ")
        guard words.count == 3 else { return nil }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        return Request(method: String(words[0]), target: String(words[1]), headers: headers)
    }

    private func send(_ connection: Int32, _ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            done += count
        }
        return true
    }
}
