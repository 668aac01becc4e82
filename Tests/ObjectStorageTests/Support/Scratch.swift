import Crypto
import Foundation
import ObjectStorage
import RunCore
import TestSupport
import Testing

/// A folder of a test's own, removed at the end.
final class Scratch: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory().appending("reprise-s3-\(UUID().uuidString)")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }
    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }
    func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: file(name)))) }
    func write(_ name: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: file(name))) }
    func write(_ name: String, _ text: String) throws { try write(name, Array(text.utf8)) }
}

/// Random and reproducible: the seed is in the test.
func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count { withUnsafeBytes(of: generator.next()) { bytes += $0 } }
    return Array(bytes.prefix(count))
}

func sha256(_ bytes: [UInt8]) -> String { SignatureCheck.hex(SHA256.hash(data: bytes)) }

func md5(_ bytes: [UInt8]) -> String { SignatureCheck.hex(Insecure.MD5.hash(data: bytes)) }

struct FixedCredentials: CredentialSource {
    let name = "the test"
    var token: String?
    func credentials() -> Credentials? {
        Credentials(
            accessKeyID: FaultServer.accessKey, secretKey: Secret(FaultServer.secretKey),
            sessionToken: token.map(Secret.init), origin: name)
    }
}

extension FaultServer {
    func store(prefix: String = "", retries: Int = 3) throws -> S3Store {
        S3Store(
            try S3Location(bucket: bucket, prefix: prefix, endpoint: Endpoint(endpoint)), credentials: FixedCredentials(),
            retry: RetryPolicy(retries: retries, firstDelay: .milliseconds(5), longestDelay: .milliseconds(50)))
    }
}

/// Small parts and short waits.
func quickOptions(partSizeBytes: Int64 = 65_536, retries: Int = 4, concurrency: Int = 4) -> FetchOptions {
    FetchOptions(
        concurrency: concurrency, partSizeBytes: partSizeBytes,
        retry: RetryPolicy(retries: retries, firstDelay: .milliseconds(5), longestDelay: .milliseconds(50)),
        limits: ReadLimits(minimumBytesPerSecond: 1000, stallSeconds: 1))
}

/// Runs `body` with a server that is stopped afterwards, whatever happens. No secret may have left it in an error.
func withServer<Value>(_ body: (FaultServer) async throws -> Value) async throws -> Value {
    let server = try FaultServer()
    defer { server.stop() }
    let value = try await body(server)
    #expect(server.signatureFailures == [])
    return value
}

/// The `RepriseError` that `body` throws.
func failure(of body: () async throws -> Void) async -> (any RepriseError)? {
    do {
        try await body()
        Issue.record("nothing was thrown")
        return nil
    } catch let error as any RepriseError {
        let text = "\(error) \(error.message) \(error.hints)"
        #expect(!text.contains(FaultServer.secretKey) && !text.contains("canary"), "a secret is in the error")
        return error
    } catch {
        Issue.record("not an error for people: \(error)")
        return nil
    }
}
