internal import Foundation

/// One profile of the shared credentials and config files.
///
/// Files are named by `AWS_SHARED_CREDENTIALS_FILE` and `AWS_CONFIG_FILE`, else they are `~/.aws/credentials` and
/// `~/.aws/config`; the profile by `AWS_PROFILE`, else it is `default`. Explicit arguments (the inventory's) win.
package struct SharedProfile: CredentialSource {
    package let profile: String
    package let credentialsPath: String
    package let configPath: String
    /// A profile or file that somebody named must be there; the default ones need not.
    private let isProfileNamed: Bool
    private let isFileNamed: Bool

    package init(
        profile: String? = nil, credentialsPath: String? = nil, configPath: String? = nil, environment: [String: String]
    ) {
        func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        let home = value("HOME") ?? NSHomeDirectory()
        func expanded(_ path: String) -> String { path.hasPrefix("~/") ? home + path.dropFirst(1) : path }
        let namedProfile = profile ?? value("AWS_PROFILE") ?? value("AWS_DEFAULT_PROFILE")
        let namedFile = credentialsPath ?? value("AWS_SHARED_CREDENTIALS_FILE")
        self.profile = namedProfile ?? "default"
        self.credentialsPath = expanded(namedFile ?? "~/.aws/credentials")
        self.configPath = expanded(configPath ?? value("AWS_CONFIG_FILE") ?? "~/.aws/config")
        isProfileNamed = namedProfile != nil
        isFileNamed = namedFile != nil
    }

    package var name: String { "profile \(profile) of \(credentialsPath) and \(configPath)" }

    /// What the config file says of the store itself.
    package struct Settings: Hashable, Sendable {
        package var region: String?
        package var endpoint: String?
        /// `path`, `virtual` or `auto`.
        package var addressingStyle: String?
    }

    /// - Throws: `ObjectStorageError` where a file is there and cannot be read or understood.
    package func settings() throws -> Settings {
        let values = try section(configPath).merging(try section(credentialsPath)) { _, credentials in credentials }
        return Settings(
            region: values["region"], endpoint: values["s3.endpoint_url"] ?? values["endpoint_url"],
            addressingStyle: values["s3.addressing_style"])
    }

    package func credentials() throws -> Credentials? {
        let config = try section(configPath), credentials = try section(credentialsPath, mustExist: isFileNamed)
        // Both keys come from one file, or a half-edited pair would be signed with.
        for (values, path) in [(credentials, credentialsPath), (config, configPath)] {
            switch (values["aws_access_key_id"], values["aws_secret_access_key"]) {
            case (let id?, let key?):
                return Credentials(
                    accessKeyID: id, secretKey: Secret(key), sessionToken: values["aws_session_token"].map(Secret.init),
                    origin: "profile \(profile) of \(path)")
            case (nil, nil): continue
            case (nil, _?), (_?, nil):
                throw ObjectStorageError(.badCredentials, "profile \(profile) of \(path) holds half a key")
            }
        }
        try refuseUnsupported(config.merging(credentials) { $1 })
        if isProfileNamed {
            throw ObjectStorageError(
                .noCredentials, "profile \(profile) has no key in \(credentialsPath) or \(configPath)",
                hints: ["profiles there: \(try knownProfiles().joined(separator: ", "))"])
        }
        return nil
    }

    private func refuseUnsupported(_ values: [String: String]) throws {
        let unsupported = [
            "credential_process", "sso_session", "sso_start_url", "role_arn", "web_identity_token_file", "credential_source",
        ]
        guard let found = unsupported.first(where: { values[$0] != nil }) else { return }
        throw ObjectStorageError(
            .credentialsUnsupported, "profile \(profile) uses \(found), which is not supported",
            hints: ["put a key into the environment: eval \"$(aws configure export-credentials --profile \(profile) --format env)\""])
    }

    private func knownProfiles() throws -> [String] {
        let names = Set(try file(credentialsPath).sections.keys).union(try file(configPath).sections.keys)
        return names.isEmpty ? ["none"] : names.sorted()
    }

    private func section(_ path: String, mustExist: Bool = false) throws -> [String: String] {
        try file(path, mustExist: mustExist).sections[profile] ?? [:]
    }

    private func file(_ path: String, mustExist: Bool = false) throws -> ProfileFile {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: path))
        } catch let error as CocoaError where error.code == .fileReadNoSuchFile || error.code == .fileNoSuchFile {
            guard mustExist else { return ProfileFile() }
            throw ObjectStorageError(.noCredentials, "there is no credentials file \(path)")
        } catch {
            throw ObjectStorageError(
                .noCredentials, "cannot read the credentials file \(path)",
                hints: ["it must be readable by the user that runs reprise, and by nobody else"])
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw ObjectStorageError(.badCredentials, "\(path) is not UTF-8 text")
        }
        return try ProfileFile(text, path: path)
    }
}

extension CredentialChain {
    /// The usual order: environment (unless a profile is asked for), then the shared files.
    ///
    /// - Parameter profile: the inventory's word; it also skips the environment, so that the one that was meant is used.
    package static func standard(
        profile: String? = nil, credentialsPath: String? = nil, configPath: String? = nil, environment: [String: String]
    ) -> CredentialChain {
        let shared = SharedProfile(
            profile: profile, credentialsPath: credentialsPath, configPath: configPath, environment: environment)
        let isExplicit = profile != nil || credentialsPath != nil
        return CredentialChain(isExplicit ? [shared] : [EnvironmentCredentials(environment: environment), shared])
    }
}
