internal import BlockingIO
internal import Foundation
package import ObjectStorage
package import PlanModel
internal import PostgreSQL
internal import RunCore
internal import SSH
internal import Steps

/// The ways out into the world that steps use through the engine.
package struct Adapters: Sendable {
    private let environment: [String: String]

    /// - Parameter environment: this process's, for the usual chain of S3 credentials.
    package init(environment: [String: String]) {
        self.environment = environment
    }

    /// - Parameter reach: the SSH session of a host, for a store that is a folder there.
    package func makeStore(_ store: StoreRef, reach: (_ host: String) -> HostDirectoryStore.Reach) throws -> any ObjectStore {
        switch store.kind {
        case .directory(let path, nil): return DirectoryStore(path: path)
        case .directory(let path, let host?): return HostDirectoryStore(path: path, reach: reach(host))
        case .s3(let place):
            let location = try ObjectStorage.S3Location(
                bucket: place.bucket, prefix: place.prefix, region: place.region, endpoint: place.endpoint.map { try Endpoint($0) },
                addressing: place.usesPathStyle ? .path : .automatic)
            return S3Store(
                location,
                credentials: CredentialChain.standard(
                    profile: place.profile, credentialsPath: place.credentialsFile, configPath: place.configFile,
                    environment: environment))
        }
    }

}

struct DatabaseUnreachable: RepriseError {
    let code = "postgresql.unreachable"
    let database: String
    let host: String
    let why: String
    var via: DatabaseRef.Via = .bridge
    var message: String { "the server of database \(database) on \(host) cannot be reached: \(why)" }
    var hints: [String] {
        ["see whether it runs: on \(host), pg_lsclusters"]
            + (via == .bridge
                ? ["the login on \(host) must be the database's superuser, root, or may run sudo -n"]
                : ["see where it listens: SHOW listen_addresses; `address` and `port` in the inventory are as seen from \(host)"])
    }
    var exitStatus: ExitStatus { .unreachable }
    var isTransient: Bool { true }
}
