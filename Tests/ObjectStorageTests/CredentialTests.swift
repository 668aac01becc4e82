import Foundation
import ObjectStorage
import RunCore
import Testing

@Suite struct CredentialTests {
    let scratch: Scratch
    init() throws { scratch = try Scratch() }

    private var environment: [String: String] {
        ["AWS_SHARED_CREDENTIALS_FILE": scratch.file("credentials"), "AWS_CONFIG_FILE": scratch.file("config"), "HOME": scratch.path]
    }

    private func found(_ extra: [String: String] = [:], profile: String? = nil) async throws -> Credentials? {
        try await CredentialChain.standard(
            profile: profile, environment: environment.merging(extra) { $1 }
        ).credentials()
    }

    @Test func theEnvironmentWinsOverFiles() async throws {
        try scratch.write("credentials", "[default]\naws_access_key_id = FILE\naws_secret_access_key = canary\n")
        let keys = try await found(["AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"])
        #expect(keys?.accessKeyID == "ENV" && keys?.sessionToken == Secret("t"))
    }

    @Test func anExplicitProfileWinsOverTheEnvironment() async throws {
        try scratch.write("credentials", "[dr]\naws_access_key_id = FILE\naws_secret_access_key = canary\n")
        let keys = try await found(["AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "s"], profile: "dr")
        #expect(keys?.accessKeyID == "FILE")
    }

    @Test func profilesOfBothFilesAreRead() async throws {
        try scratch.write(
            "credentials", "# comment\r\n[one]\r\naws_access_key_id=A1\r\naws_secret_access_key = b/c+d== \r\naws_session_token=tok\r\n")
        try scratch.write(
            "config", "[profile one]\nregion = eu-central-1\ns3 =\n  addressing_style = path\n  endpoint_url = https://x\n"
                + "[profile two]\naws_access_key_id = A2\naws_secret_access_key = e # comment\n")
        let one = try await found(["AWS_PROFILE": "one"]), two = try await found(["AWS_PROFILE": "two"])
        #expect(one?.accessKeyID == "A1" && one?.secretKey == Secret("b/c+d==") && one?.sessionToken == Secret("tok"))
        #expect(two?.accessKeyID == "A2" && two?.secretKey == Secret("e"))
        let settings = try SharedProfile(profile: "one", environment: environment).settings()
        #expect(settings.region == "eu-central-1" && settings.endpoint == "https://x" && settings.addressingStyle == "path")
    }

    @Test func aMissingProfileNamesThoseThatAreThere() async throws {
        try scratch.write("credentials", "[prod]\naws_access_key_id=A\naws_secret_access_key=b\n[drill]\n")
        let error = await failure { _ = try await found(["AWS_PROFILE": "prd"]) }
        #expect(error?.code == "store.no-credentials" && error?.description.contains("drill, prod") == true)
    }

    @Test func nothingAnywhereIsNamed() async {
        let error = await failure { _ = try await CredentialChain.standard(environment: ["HOME": scratch.path]).credentials() }
        #expect(error?.code == "store.no-credentials" && error?.exitStatus == .usage)
    }

    @Test func aNamedFileThatIsMissingIsNamed() async {
        let error = await failure { _ = try await found() }
        #expect(error?.message.contains("there is no credentials file") == true)
    }

    @Test(arguments: ["credential_process = /bin/x", "sso_session = y", "role_arn = z"])
    func whatIsNotSupportedIsNamed(_ line: String) async throws {
        try scratch.write("credentials", "")
        try scratch.write("config", "[default]\n\(line)\n")
        let error = await failure { _ = try await found() }
        #expect(error?.code == "store.credentials-unsupported" && error?.message.contains(line.prefix(8)) == true)
    }

    @Test func halfAKeyIsRefused() async throws {
        try scratch.write("credentials", "[default]\naws_access_key_id=A\n")
        #expect(await failure { _ = try await found() }?.code == "store.bad-credentials")
        #expect(await failure { _ = try await found(["AWS_SECRET_ACCESS_KEY": "canary"]) }?.code == "store.bad-credentials")
    }

    @Test(arguments: ["canary = x\n[default]\n", "[default\n", "[default]\ncanary-without-equals\n"])
    func aBrokenFileIsNamedByItsLineAndNotByItsText(_ text: String) async throws {
        try scratch.write("credentials", text)
        let error = await failure { _ = try await found() }
        #expect(error?.code == "store.bad-credentials" && error?.message.contains("credentials:") == true)
    }
}

@Suite struct LocationTests {
    @Test func endpointsAreTakenAsTheyAreWritten() throws {
        #expect(try Endpoint("https://s3.example.com/").description == "https://s3.example.com")
        #expect(try Endpoint("http://10.0.0.1:7480").description == "http://10.0.0.1:7480")
        #expect(try Endpoint("https://[::1]:9000/minio").description == "https://[::1]:9000/minio")
    }

    @Test(arguments: ["s3.example.com", "ftp://x", "https://", "https://user:canary@x", "https://x?y", "https://x:99999", "http://a b"])
    func endpointsThatMakeNoSenseAreRefused(_ text: String) async {
        #expect(await failure { _ = try Endpoint(text) }?.code == "store.configuration")
    }

    @Test(arguments: ["", "ab", "a/b", "a b", "../x", "a?b", "bücket"])
    func bucketsThatMakeNoSenseAreRefused(_ name: String) async {
        #expect(await failure { _ = try S3Location(bucket: name) }?.code == "store.configuration")
    }

    @Test func displayNamesAreForPeople() throws {
        #expect(try S3Location(bucket: "church", prefix: "prod/").displayName == "s3://church/prod")
        #expect(try S3Location(bucket: "church").displayName == "s3://church")
    }

    @Test func amazonIsAddressedByTheBucketsOwnHostWherePossible() async throws {
        func url(_ location: S3Location) async throws -> String {
            let store = S3Store(location, credentials: FixedCredentials())
            let version = ObjectVersion(key: "k", sizeBytes: 1, etag: "\"e\"", lastModified: Date(timeIntervalSince1970: 0))
            let url = try await store.presign(version, range: 0..<1, expires: .seconds(60))?.url.reveal() ?? ""
            return String(url.prefix { $0 != "?" })
        }
        #expect(try await url(S3Location(bucket: "church", region: "eu-west-1")) == "https://church.s3.eu-west-1.amazonaws.com/k")
        #expect(try await url(S3Location(bucket: "a.b", region: "eu-west-1")) == "https://s3.eu-west-1.amazonaws.com/a.b/k")
        #expect(try await url(S3Location(bucket: "church", prefix: "p", endpoint: Endpoint("https://x:9"))) == "https://x:9/church/p/k")
        #expect(
            try await url(S3Location(bucket: "church", endpoint: Endpoint("https://x"), addressing: .virtual)) == "https://church.x/k")
    }
}
