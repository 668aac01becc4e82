internal import struct Foundation.Date

/// Names what an S3 service refused. Only code and a few harmless fields of its answer are shown: the rest of an error
/// document may hold what was signed.
enum S3Failure {
    static func error(_ head: HTTPResponseHead, body: [UInt8], doing action: String, context: Context) -> ObjectStorageError {
        let document = (try? XMLElement.parse(body)).flatMap { $0.name == "Error" ? $0 : nil }
        let code = document?["Code"] ?? ""
        let retryAfter = head["retry-after"].flatMap { Int($0) }.map { min(max($0, 0), 60) }
        if let known = named(code, head, document, action, context) { return known }
        if code == "RequestTimeout" {
            return ObjectStorageError(.timedOut, "\(action) failed: the store gave up waiting for us (RequestTimeout)")
        }
        if ["SlowDown", "TooManyRequests", "Throttling", "ThrottlingException", "RequestLimitExceeded"].contains(code)
            || head.status == 429 || head.status == 503
        {
            return ObjectStorageError(
                .throttled, "\(action) failed: the store asks us to slow down (\(shown(code, head.status)))",
                hints: ["fewer parts at once"], retryAfterSeconds: retryAfter)
        }
        if head.status >= 500 || code == "InternalError" {
            return ObjectStorageError(
                .serverFailed, "\(action) failed: the store failed (\(shown(code, head.status)))",
                retryAfterSeconds: retryAfter)
        }
        return byStatus(head, code, action, context)
    }

    struct Context: Sendable {
        let bucket: String
        let region: String
        let endpoint: String
        let accessKeyID: String
        let hasToken: Bool
        let now: Date
    }

    private static func named(
        _ code: String, _ head: HTTPResponseHead, _ document: XMLElement?, _ action: String, _ context: Context
    ) -> ObjectStorageError? {
        func make(_ kind: ObjectStorageError.Kind, _ what: String, _ hints: String...) -> ObjectStorageError {
            ObjectStorageError(kind, "\(action) failed: \(what)", hints: hints)
        }
        let region = head["x-amz-bucket-region"] ?? document?["Region"]
        switch code {
        case "NoSuchBucket":
            return make(.noSuchBucket, "there is no bucket \(context.bucket) at \(context.endpoint)",
                "check the bucket's name, the endpoint and the region")
        case "NoSuchKey", "NoSuchVersion":
            return make(.noSuchKey, "there is no such object", "list what is there: reprise backup list")
        case "AccessDenied", "AllAccessDisabled", "AccountProblem":
            return make(.accessDenied, "access key \(context.accessKeyID) may not do this (\(code))",
                "recovery needs s3:ListBucket on the bucket and s3:GetObject on its objects, nothing more",
                "without s3:ListBucket a missing object looks like this too")
        case "InvalidAccessKeyId":
            return make(.badCredentials, "the store does not know access key \(context.accessKeyID)",
                "check which credentials are in force: environment before profile")
        case "SignatureDoesNotMatch":
            return make(.signatureMismatch, "the store computed another signature for access key \(context.accessKeyID)",
                "the secret key is probably wrong: a character lost when copying, or the key of another account",
                "a proxy that changes the path or the Host header does this too")
        case "RequestTimeTooSkewed", "RequestExpired":
            return make(.wrongClock, "the clocks of this machine and of the store differ\(skew(head, context.now))",
                "set this machine's clock: timedatectl set-ntp true")
        case "ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException":
            return make(.expiredToken, "the session token of access key \(context.accessKeyID) has expired",
                "get a new one (aws sso login, aws sts assume-role, …), then: reprise resume")
        case "InvalidToken":
            return make(.badCredentials, "the store does not accept the session token",
                context.hasToken
                    ? "the token belongs to another key, or is cut off"
                    : "the key is a temporary one: its AWS_SESSION_TOKEN is missing")
        case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
            let where_ = region.map { "region \($0)" } ?? "another region or endpoint"
            return make(.wrongRegion, "bucket \(context.bucket) is in \(where_), not in \(context.region) (\(code))",
                region.map { "set the store's region to \($0)" } ?? "set the store's region and endpoint to the bucket's own")
        case "InvalidObjectState":
            return make(.archived, "the object is in an archive class and must be brought back first",
                "ask for it: aws s3api restore-object")
        default: return nil
        }
    }

    private static func byStatus(
        _ head: HTTPResponseHead, _ code: String, _ action: String, _ context: Context
    ) -> ObjectStorageError {
        let suffix = shown(code, head.status)
        if let region = head["x-amz-bucket-region"], region != context.region, [301, 307, 400].contains(head.status) {
            return ObjectStorageError(
                .wrongRegion, "\(action) failed: bucket \(context.bucket) is in region \(region), not in \(context.region)",
                hints: ["set the store's region to \(region)"])
        }
        switch head.status {
        case 301, 302, 307, 308:
            return ObjectStorageError(
                .wrongRegion, "\(action) failed: the store points elsewhere (\(suffix))",
                hints: ["set the store's region and endpoint to the bucket's own"])
        case 401, 403: return ObjectStorageError(.accessDenied, "\(action) failed: the store refused it (\(suffix))")
        case 404: return ObjectStorageError(.noSuchKey, "\(action) failed: there is no such object (\(suffix))")
        case 407:
            return ObjectStorageError(.configuration, "\(action) failed: the proxy wants a password (\(suffix))")
        case 408: return ObjectStorageError(.timedOut, "\(action) failed: the store gave up waiting (\(suffix))")
        default: return ObjectStorageError(.unexpected, "\(action) failed: the store answered \(suffix)")
        }
    }

    /// A code comes from the network: only plain words of a sane length are shown.
    private static func shown(_ code: String, _ status: Int) -> String {
        let isPlain = !code.isEmpty && code.utf8.count <= 64
            && code.utf8.allSatisfy { ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2E }
        return isPlain ? "\(code), HTTP \(status)" : "HTTP \(status)"
    }

    private static func skew(_ head: HTTPResponseHead, _ now: Date) -> String {
        guard let theirs = head["date"].flatMap(CivilTime.init(httpDate:))?.date else { return "" }
        let seconds = Int(now.timeIntervalSince(theirs).rounded())
        return ": this machine is \(abs(seconds)) s \(seconds < 0 ? "behind" : "ahead")"
    }
}
