package import RunCore

/// A store refused, failed, or answered what it must not answer.
package struct ObjectStorageError: RepriseError {
    /// What went wrong; its raw value follows `store.` in the stable code.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case accessDenied = "access-denied"
        case badCredentials = "bad-credentials"
        case noCredentials = "no-credentials"
        case credentialsUnsupported = "credentials-unsupported"
        case expiredToken = "expired-token"
        case signatureMismatch = "signature-mismatch"
        case wrongClock = "wrong-clock"
        case noSuchBucket = "no-such-bucket"
        case noSuchKey = "no-such-key"
        case wrongRegion = "wrong-region"
        case throttled = "throttled"
        case serverFailed = "server-failed"
        case connectionFailed = "connection-failed"
        case timedOut = "timed-out"
        case untrustedCertificate = "untrusted-certificate"
        case truncated = "truncated"
        case rangeIgnored = "range-ignored"
        case wrongRange = "wrong-range"
        case rangeNotSatisfiable = "range-not-satisfiable"
        case malformedAnswer = "malformed-answer"
        case archived = "archived"
        case configuration = "configuration"
        case unexpected = "unexpected"
    }

    package let kind: Kind
    package let message: String
    package let hints: [String]
    /// How long the store asked to wait, in seconds.
    package var retryAfterSeconds: Int?

    package init(_ kind: Kind, _ message: String, hints: [String] = [], retryAfterSeconds: Int? = nil) {
        self.kind = kind
        self.message = message
        self.hints = hints
        self.retryAfterSeconds = retryAfterSeconds
    }

    package var code: String { "store.\(kind.rawValue)" }

    package var exitStatus: ExitStatus {
        switch kind {
        case .throttled, .serverFailed, .connectionFailed, .timedOut, .untrustedCertificate, .truncated, .wrongRange,
            .rangeIgnored, .rangeNotSatisfiable:
            .unreachable
        case .noCredentials, .credentialsUnsupported, .configuration, .wrongRegion: .usage
        case .accessDenied, .badCredentials, .expiredToken, .signatureMismatch, .wrongClock, .noSuchBucket, .noSuchKey,
            .malformedAnswer, .archived, .unexpected:
            .failed
        }
    }

    package var isTransient: Bool {
        switch kind {
        case .throttled, .serverFailed, .connectionFailed, .timedOut, .truncated, .wrongRange: true
        case .accessDenied, .badCredentials, .noCredentials, .credentialsUnsupported, .expiredToken, .signatureMismatch,
            .wrongClock, .noSuchBucket, .noSuchKey, .wrongRegion, .untrustedCertificate, .rangeIgnored,
            .rangeNotSatisfiable, .malformedAnswer, .archived, .configuration, .unexpected:
            false
        }
    }
}

/// The pinned version of an object is gone: it was replaced or deleted.
package struct ObjectChanged: RepriseError {
    package let code = "store.object-changed"
    package let message: String
    package let hints = ["choose the backup again: what is there now is another one, or none"]

    package init(_ name: String, detail: String) {
        message = "\(name) is no longer the version that was chosen: \(detail)"
    }
}
