package import struct Foundation.Date

/// An access key. Prints as its id only.
package struct Credentials: Sendable, Equatable, CustomStringConvertible {
    package let accessKeyID: String
    package let secretKey: Secret
    package let sessionToken: Secret?
    /// When they end, where the source says so.
    package let expires: Date?
    /// For people: where they came from.
    package let origin: String

    package init(
        accessKeyID: String, secretKey: Secret, sessionToken: Secret? = nil, expires: Date? = nil, origin: String
    ) {
        self.accessKeyID = accessKeyID
        self.secretKey = secretKey
        self.sessionToken = sessionToken
        self.expires = expires
        self.origin = origin
    }

    package var description: String { "access key \(accessKeyID) from \(origin)" }
}

/// Where credentials come from: the environment, files, and, behind the same door, a metadata service.
package protocol CredentialSource: Sendable {
    /// For people: `the environment`, `profile prod`.
    var name: String { get }

    /// The current credentials, read anew at each call; nil where this source has none.
    ///
    /// - Throws: `ObjectStorageError` where the source is there but cannot be used; the chain then stops, because going on
    ///   with other credentials than those that were meant is worse than stopping.
    func credentials() async throws -> Credentials?
}

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
package struct EnvironmentCredentials: CredentialSource {
    package let name = "the environment"
    private let accessKeyID: String?
    private let secretKey: Secret?
    private let sessionToken: Secret?

    package init(environment: [String: String]) {
        func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        accessKeyID = value("AWS_ACCESS_KEY_ID")
        secretKey = value("AWS_SECRET_ACCESS_KEY").map(Secret.init)
        sessionToken = value("AWS_SESSION_TOKEN").map(Secret.init)
    }

    package func credentials() throws -> Credentials? {
        switch (accessKeyID, secretKey) {
        case (nil, nil): nil
        case (let id?, let key?):
            Credentials(accessKeyID: id, secretKey: key, sessionToken: sessionToken, origin: name)
        case (nil, _?), (_?, nil):
            throw ObjectStorageError(
                .badCredentials, "the environment holds half a key",
                hints: ["set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or neither"])
        }
    }
}

/// The first source that has credentials.
package struct CredentialChain: CredentialSource {
    package let sources: [any CredentialSource]

    package init(_ sources: [any CredentialSource]) { self.sources = sources }

    package var name: String { sources.map(\.name).joined(separator: ", then ") }

    /// - Throws: `ObjectStorageError` of kind `.noCredentials` where no source has any.
    package func credentials() async throws -> Credentials? {
        for source in sources {
            if let found = try await source.credentials() { return found }
        }
        throw ObjectStorageError(
            .noCredentials, "no credentials for the object store: looked in \(name)",
            hints: [
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
                "or name credentials file and profile in the inventory",
            ])
    }
}

/// Keeps what a source gave until it is told that the store no longer takes it.
actor CredentialCache {
    private let source: any CredentialSource
    private var current: Credentials?

    init(_ source: any CredentialSource) { self.source = source }

    func credentials() async throws -> Credentials {
        if let current, current.expires.map({ $0.timeIntervalSinceNow > 60 }) ?? true { return current }
        return try await refresh()
    }

    /// Reads the source again.
    func refresh() async throws -> Credentials {
        guard let found = try await source.credentials() else {
            throw ObjectStorageError(.noCredentials, "no credentials for the object store: looked in \(source.name)")
        }
        current = found
        return found
    }
}
