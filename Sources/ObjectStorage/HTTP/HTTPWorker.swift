internal import BlockingIO
internal import CLibCurl
internal import Glibc
internal import Synchronization

/// Bounds on one request.
struct TransferLimits: Sendable {
    var connectSeconds = 15
    /// Below `minimumBytesPerSecond` for this long, the transfer is given up.
    var stallSeconds = 20
    var minimumBytesPerSecond = 1
    /// For the request as a whole.
    var deadline: Duration = .seconds(60)
}

/// One thread, one connection that is kept, one request at a time.
///
/// `@unchecked Sendable`: `multi` and `easy` are used on `thread` only, and in `deinit`, when nobody else can hold a
/// reference; the exception is `curl_multi_wakeup`, which libcurl allows from any thread while the handle lives.
final class HTTPWorker: @unchecked Sendable {
    private let thread: DedicatedThread
    private let multi: OpaquePointer
    private let easy: OpaquePointer

    init() {
        HTTPClient.initializeLibrary()
        thread = DedicatedThread(name: "reprise-http")
        guard let multi = curl_multi_init(), let easy = curl_easy_init() else {
            preconditionFailure("libcurl has no memory for a handle")
        }
        (self.multi, self.easy) = (OpaquePointer(multi), OpaquePointer(easy))
    }

    deinit {
        curl_easy_cleanup(UnsafeMutableRawPointer(easy))
        curl_multi_cleanup(UnsafeMutableRawPointer(multi))
    }

    /// The answer's head and, where it was collected, its body.
    func perform(
        _ request: HTTPRequest, limits: TransferLimits, decide: @escaping @Sendable (HTTPResponseHead) throws -> BodyDisposition,
        sink: @escaping ByteSink
    ) async throws -> (head: HTTPResponseHead, body: [UInt8], deliveredBytes: Int64) {
        let isCancelled = Flag()
        return try await withTaskCancellationHandler {
            try await thread.run { [self] in
                try performBlocking(request, limits: limits, transfer: Transfer(decide: decide, sink: sink), isCancelled)
            }
        } onCancel: {
            isCancelled.raise()
            curl_multi_wakeup(UnsafeMutableRawPointer(multi))
        }
    }

    private func performBlocking(
        _ request: HTTPRequest, limits: TransferLimits, transfer: Transfer, _ isCancelled: Flag
    ) throws -> (head: HTTPResponseHead, body: [UInt8], deliveredBytes: Int64) {
        let handle = UnsafeMutableRawPointer(easy), multi = UnsafeMutableRawPointer(multi)
        var list: UnsafeMutablePointer<curl_slist>?
        // Expect and Accept are of no use to S3, and every header that is sent costs.
        for line in request.headers.map({ "\($0.name): \($0.value)" }) + ["Accept:", "Expect:"] {
            list = curl_slist_append(list, line)
        }
        defer { curl_slist_free_all(list) }
        configure(handle, request, limits, list, transfer)
        let route = configure(handle, visit: request.visit)
        defer { curl_slist_free_all(route) }
        defer { curl_easy_reset(handle) }
        curl_multi_add_handle(multi, handle)
        let result: CURLcode
        do {
            defer { curl_multi_remove_handle(multi, handle) }
            result = try withExtendedLifetime(transfer) {
                try drive(multi, Deadline(after: limits.deadline), isCancelled, host: Self.host(of: request))
            }
        }
        transfer.finishIfComplete(result)
        if let failure = transfer.failure { throw failure }
        if result != CURLE_OK { throw TransportFailure.error(result, host: Self.host(of: request)) }
        request.visit?.onCertificate?(Self.lines(reprise_curl_first_certificate(handle)))
        return (transfer.head, transfer.collected, transfer.deliveredBytes)
    }

    private func configure(
        _ handle: UnsafeMutableRawPointer, _ request: HTTPRequest, _ limits: TransferLimits,
        _ list: UnsafeMutablePointer<curl_slist>?, _ transfer: Transfer
    ) {
        func set(_ option: CURLoption, _ value: Int) { reprise_curl_set_long(handle, option, value) }
        request.url.reveal().withCString { _ = reprise_curl_set_pointer(handle, CURLOPT_URL, $0) }
        "http,https".withCString { _ = reprise_curl_set_pointer(handle, CURLOPT_PROTOCOLS_STR, $0) }
        "reprise".withCString { _ = reprise_curl_set_pointer(handle, CURLOPT_USERAGENT, $0) }
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        set(CURLOPT_NOBODY, request.method == .head ? 1 : 0)
        if request.method == .post, let body = request.body?.reveal() {
            reprise_curl_set_offset(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.utf8.count))
            body.withCString { _ = reprise_curl_set_pointer(handle, CURLOPT_COPYPOSTFIELDS, $0) }
        }
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        set(CURLOPT_CONNECTTIMEOUT, limits.connectSeconds)
        set(CURLOPT_LOW_SPEED_LIMIT, limits.minimumBytesPerSecond)
        set(CURLOPT_LOW_SPEED_TIME, limits.stallSeconds)
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_BUFFERSIZE, 512 * 1024)
        reprise_curl_set_pointer(handle, CURLOPT_HTTPHEADER, list)
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        reprise_curl_set_data_callback(handle, CURLOPT_HEADERFUNCTION, Transfer.onHeader)
        reprise_curl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        reprise_curl_set_data_callback(handle, CURLOPT_WRITEFUNCTION, Transfer.onBody)
        reprise_curl_set_pointer(handle, CURLOPT_WRITEDATA, context)
    }

    /// - Returns: a list that must live until the request has ended.
    private func configure(_ handle: UnsafeMutableRawPointer, visit: Visit?) -> UnsafeMutablePointer<curl_slist>? {
        guard let visit else { return nil }
        visit.trustedCertificates?.withCString { _ = reprise_curl_set_pointer(handle, CURLOPT_CAINFO, $0) }
        // An empty name reads no file, and keeps cookies in memory; they outlive a reset of the handle.
        if visit.keepsCookies { "".withCString { _ = reprise_curl_set_pointer(handle, CURLOPT_COOKIEFILE, $0) } }
        if visit.onCertificate != nil {
            reprise_curl_set_long(handle, CURLOPT_CERTINFO, 1)
            reprise_curl_set_long(handle, CURLOPT_FRESH_CONNECT, 1)
            reprise_curl_set_long(handle, CURLOPT_CONNECT_ONLY, 1)
        }
        guard let address = visit.connectTo else { return nil }
        let route = curl_slist_append(nil, address)
        reprise_curl_set_pointer(handle, CURLOPT_CONNECT_TO, route)
        "*".withCString { _ = reprise_curl_set_pointer(handle, CURLOPT_NOPROXY, $0) }
        return route
    }

    private static func lines(_ list: UnsafeMutablePointer<curl_slist>?) -> [String] {
        sequence(first: list) { $0?.pointee.next }.prefix { $0 != nil }.compactMap { $0?.pointee.data.map { String(cString: $0) } }
    }

    /// Runs the request to its end. The caller removes the handle, which also closes a connection left in the middle.
    private func drive(
        _ multi: UnsafeMutableRawPointer, _ deadline: Deadline, _ isCancelled: Flag, host: String
    ) throws -> CURLcode {
        while true {
            if isCancelled.isRaised { throw CancellationError() }
            if deadline.hasPassed {
                throw ObjectStorageError(.timedOut, "gave up waiting for \(host): the deadline passed")
            }
            var running: Int32 = 0
            let performed = curl_multi_perform(multi, &running)
            guard performed == CURLM_OK else {
                throw ObjectStorageError(.unexpected, "libcurl failed: \(String(cString: curl_multi_strerror(performed)))")
            }
            var left: Int32 = 0
            while let message = curl_multi_info_read(multi, &left) {
                if message.pointee.msg == CURLMSG_DONE { return reprise_curl_message_result(message) }
            }
            curl_multi_poll(multi, nil, 0, min(deadline.remainingMilliseconds, 1000), nil)
        }
    }

    /// Host and port of a request's address, which hold no secret.
    private static func host(of request: HTTPRequest) -> String {
        let url = request.url.reveal()
        guard let start = url.firstRange(of: "://")?.upperBound else { return "the store" }
        return String(url[start...].prefix { $0 != "/" && $0 != "?" })
    }
}

extension Transfer {
    func finishIfComplete(_ result: CURLcode) {
        if result == CURLE_OK { finish() }
    }
}

/// A flag that any thread may raise.
final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    func raise() { value.store(true, ordering: .releasing) }
    var isRaised: Bool { value.load(ordering: .acquiring) }
}
