internal import CLibCurl
internal import Glibc
internal import Synchronization

/// HTTP over libcurl, each request on a thread of its own, connections kept between requests.
///
/// As many threads as there are requests at once: whoever calls bounds that. TLS is verified always; proxies are those of
/// the environment; redirects are not followed, because a signature is good for one host.
final class HTTPClient: Sendable {
    private let idle = Mutex<[HTTPWorker]>([])

    /// Threads beyond this are ended when their request is.
    private static let idleLimit = 32

    static func initializeLibrary() { _ = library }
    private static let library: Void = {
        // libcurl before 7.84 is not thread-safe here, so this happens once, behind Swift's own lock.
        precondition(curl_global_init(Int(CURL_GLOBAL_ALL)) == CURLE_OK, "libcurl cannot be initialized")
        // A peer that closes early must not end the process.
        signal(SIGPIPE, SIG_IGN)
    }()

    /// - Parameters:
    ///   - decide: called once with the head, before the body; what it throws ends the request.
    ///   - sink: takes the body where `decide` says so.
    /// - Throws: what `decide` and `sink` throw, `ObjectStorageError` for failures of the transport, `CancellationError`.
    func perform(
        _ request: HTTPRequest, limits: TransferLimits,
        decide: @escaping @Sendable (HTTPResponseHead) throws -> BodyDisposition,
        sink: @escaping ByteSink = { _ in }
    ) async throws -> (head: HTTPResponseHead, body: [UInt8], deliveredBytes: Int64) {
        try Task.checkCancellation()
        let worker = idle.withLock { $0.popLast() } ?? HTTPWorker()
        defer { idle.withLock { if $0.count < Self.idleLimit { $0.append(worker) } } }
        return try await worker.perform(request, limits: limits, decide: decide, sink: sink)
    }
}

enum TransportFailure {
    /// Names what libcurl reports. `host` is a host and port, nothing else.
    static func error(_ code: CURLcode, host: String) -> ObjectStorageError {
        let text = String(cString: curl_easy_strerror(code)).lowercased()
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST:
            return ObjectStorageError(
                .connectionFailed, "cannot find the host \(host)",
                hints: ["check the endpoint's name, the region and this machine's name service"])
        case CURLE_COULDNT_RESOLVE_PROXY:
            return ObjectStorageError(
                .connectionFailed, "cannot find the proxy that the environment names",
                hints: ["check https_proxy, http_proxy and no_proxy"])
        case CURLE_COULDNT_CONNECT:
            return ObjectStorageError(
                .connectionFailed, "cannot connect to \(host)", hints: ["check the endpoint, the network and the firewall"])
        case CURLE_OPERATION_TIMEDOUT:
            return ObjectStorageError(.timedOut, "\(host) answered too slowly or not at all")
        case CURLE_PARTIAL_FILE:
            return ObjectStorageError(.truncated, "\(host) ended the answer before it was whole")
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR,
            CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_CERTPROBLEM:
            return ObjectStorageError(
                .untrustedCertificate, "the certificate of \(host) cannot be trusted: \(text)",
                hints: ["install the issuer's certificate on this machine, and check its clock"])
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_URL_MALFORMAT:
            return ObjectStorageError(.configuration, "cannot use the address of \(host): \(text)")
        default:
            return ObjectStorageError(.connectionFailed, "the connection to \(host) failed: \(text)")
        }
    }
}
