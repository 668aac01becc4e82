import Foundation
import Glibc
import ObjectStorage
import RunCore
import Testing

/// Against moto_server, a stand-in that others wrote: it has a mind of its own about listings, versions and errors.
@Suite(.serialized) struct MotoTests {
    private func withMoto(_ body: (String) async throws -> Void) async throws {
        // Below the ports that the kernel hands out, which other tests listen on.
        let port = Int.random(in: 10_000..<32_000)
        let child: Command.Child
        do { child = try Command.start("moto_server", ["-H", "127.0.0.1", "-p", "\(port)"]) } catch {
            return print("SKIPPED: moto_server is not installed; nothing was checked against it")
        }
        let result: Result<Void, any Error>
        do {
            try await eventually("moto_server listens") { child.outputSoFar.contains("Running on http://127.0.0.1:\(port)") }
            result = .success(try await body("http://127.0.0.1:\(port)"))
        } catch { result = .failure(error) }
        kill(child.process, SIGKILL)
        try await child.wait()
        try result.get()
    }

    @discardableResult private func curl(_ arguments: [String]) async throws -> Bool {
        try await Command.run("curl", ["--silent", "--fail", "--noproxy", "*", "--output", "/dev/null"] + arguments).status == 0
    }

    @Test func listingHeadFetchAndErrorsAgree() async throws {
        try await withMoto { endpoint in
            let scratch = try Scratch()
            let body = randomBytes(2_000_000, seed: 71)
            try scratch.write("body", body)
            let auth = ["--header", "Authorization: AWS4-HMAC-SHA256 Credential=x/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"]
            #expect(try await curl(auth + ["-X", "PUT", "\(endpoint)/backups"]))
            for key in ["database/db_20261101_020000.dump.gz", "database/db_20261102_020000.dump.gz", "a%20b/%C3%BC%2B1"] {
                #expect(try await curl(auth + ["--upload-file", scratch.file("body"), "\(endpoint)/backups/\(key)"]))
            }
            let store = S3Store(try S3Location(bucket: "backups", endpoint: Endpoint(endpoint)), credentials: FixedCredentials())
            #expect(try await store.list(prefix: "").map(\.key).first == "a b/ü+1")
            let newest = try #require(try await BackupNaming.runbookDatabase.backups(in: store).first)
            #expect(newest.object.key == "database/db_20261102_020000.dump.gz")
            for key in [newest.object.key, "a b/ü+1"] {
                let version = try await store.head(key)
                let file = try await Fetch(from: store).fetch(version, to: scratch.file("out"), options: quickOptions())
                #expect(file.sha256 == sha256(body))
                let job = try await HostFetchScript.make(version, from: store, to: scratch.file("host"))
                try scratch.write("job.sh", job.script)
                try scratch.write("job.in", job.standardInput.reveal())
                let ended = try await Command.run("/bin/sh", [scratch.file("job.sh")], inputPath: scratch.file("job.in"))
                #expect(ended.status == 0 && ended.output.contains(sha256(body)), "\(ended)")
            }
            #expect(await failure { _ = try await store.head("nothing") }?.code == "store.no-such-key")
            let other = S3Store(try S3Location(bucket: "nothing", endpoint: Endpoint(endpoint)), credentials: FixedCredentials())
            #expect(await failure { _ = try await other.list(prefix: "") }?.code == "store.no-such-bucket")
        }
    }
}
