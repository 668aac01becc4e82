import Foundation
import ObjectStorage
import TestSupport
import Testing

/// Vectors that AWS publishes: the examples of "Authenticating Requests" in the S3 API reference, and the cases of the
/// general test suite for Signature Version 4 that concern requests without a body.
@Suite struct SignatureTests {
    static let s3 = SignatureV4(
        credentials: Credentials(
            accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretKey: Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), origin: "a test"),
        region: "us-east-1")
    static let s3Time = Date(timeIntervalSince1970: 1_369_353_600)  // 20130524T000000Z
    static let host = HTTPHeader("Host", "examplebucket.s3.amazonaws.com")

    private func signature(_ headers: [HTTPHeader]) -> String? {
        headers.first { $0.name == "Authorization" }?.value.components(separatedBy: "Signature=").last
    }

    @Test func theS3ExamplesAreSignedAsPublished() {
        let examples: [(SignatureV4.Request, String)] = [
            (
                SignatureV4.Request(path: "/test.txt", headers: [Self.host, HTTPHeader("Range", "bytes=0-9")]),
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
            ),
            (
                SignatureV4.Request(path: "/", query: [("lifecycle", "")], headers: [Self.host]),
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
            ),
            (
                SignatureV4.Request(path: "/", query: [("prefix", "J"), ("max-keys", "2")], headers: [Self.host]),
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
            ),
        ]
        for (request, expected) in examples {
            #expect(signature(Self.s3.sign(request, at: Self.s3Time)) == expected)
        }
    }

    @Test func theS3ExampleOfAPresignedAddressIsSignedAsPublished() {
        let query = Self.s3.presign(
            SignatureV4.Request(path: "/test.txt", headers: [Self.host]), at: Self.s3Time, expiresSeconds: 86_400)
        #expect(
            query == "X-Amz-Algorithm=AWS4-HMAC-SHA256"
                + "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
                + "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
                + "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
    }

    struct SuiteCase: Sendable, CustomTestStringConvertible {
        let name: String
        var method = "GET"
        var path = "/"
        var query: [(name: String, value: String)] = []
        var headers: [HTTPHeader] = []
        let signature: String
        var testDescription: String { name }
    }

    static let unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    static let suite: [SuiteCase] = [
        SuiteCase(name: "get-vanilla",
            signature: "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        SuiteCase(name: "post-vanilla", method: "POST",
            signature: "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        SuiteCase(name: "get-utf8", path: "/ሴ",
            signature: "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        SuiteCase(name: "get-unreserved", path: "/" + unreserved,
            signature: "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
        SuiteCase(name: "get-space", path: "/example space/",
            signature: "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        SuiteCase(name: "get-vanilla-empty-query-key", query: [("Param1", "value1")],
            signature: "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
        SuiteCase(name: "get-vanilla-query-order-key", query: [("Param1", "value2"), ("Param1", "Value1")],
            signature: "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1"),
        SuiteCase(name: "get-vanilla-query-order-key-case", query: [("Param2", "value2"), ("Param1", "value1")],
            signature: "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        SuiteCase(name: "get-vanilla-query-order-value", query: [("Param1", "value2"), ("Param1", "value1")],
            signature: "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"),
        SuiteCase(name: "get-vanilla-query-unreserved", query: [(unreserved, unreserved)],
            signature: "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
        SuiteCase(name: "get-vanilla-utf8-query", query: [("ሴ", "bar")],
            signature: "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        SuiteCase(name: "get-header-key-duplicate", headers: [HTTPHeader("My-Header1", "value2"), HTTPHeader("My-Header1", "value2"), HTTPHeader("My-Header1", "value1")],
            signature: "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"),
        SuiteCase(name: "get-header-value-order", headers: [HTTPHeader("My-Header1", "value4"), HTTPHeader("My-Header1", "value1"), HTTPHeader("My-Header1", "value3"), HTTPHeader("My-Header1", "value2")],
            signature: "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"),
        SuiteCase(name: "get-header-value-trim", headers: [HTTPHeader("My-Header1", " value1"), HTTPHeader("My-Header2", " \"a   b   c\"")],
            signature: "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
        SuiteCase(name: "post-header-key-sort", method: "POST", headers: [HTTPHeader("My-Header1", "value1")],
            signature: "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
        SuiteCase(name: "post-header-value-case", method: "POST", headers: [HTTPHeader("My-Header1", "VALUE1")],
            signature: "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"),
    ]

    @Test(arguments: suite) func theTestSuiteIsSignedAsPublished(_ example: SuiteCase) {
        let signer = SignatureV4(
            credentials: Credentials(
                accessKeyID: "AKIDEXAMPLE", secretKey: Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), origin: "a test"),
            region: "us-east-1", service: "service")
        let request = SignatureV4.Request(
            method: example.method, path: example.path, query: example.query,
            headers: [HTTPHeader("Host", "example.amazonaws.com")] + example.headers)
        let headers = signer.sign(request, at: Date(timeIntervalSince1970: 1_440_938_160), payloadHeader: false)
        #expect(signature(headers) == example.signature)
    }

    /// 200 random requests against botocore, where python3 has it.
    @Test func randomRequestsAreSignedAsBotocoreSignsThem() async throws {
        let seed = seed(#function)
        var generator = SeededGenerator(seed)
        let alphabet = Array("ab/ +%&=?#~.-_*'()!@:;,$\"<>\\^`{|}é日😀/0")
        func text(_ length: Int) -> String { String((0..<length).map { _ in alphabet.randomElement(using: &generator)! }) }
        var cases: [[String: Any]] = []
        var ours: [String] = []
        for _ in 0..<200 {
            let path = "/" + text(Int.random(in: 0...20, using: &generator))
            let query = (0..<Int.random(in: 0...4, using: &generator)).map { index in
                (name: "\(text(3))\(index)", value: text(Int.random(in: 0...6, using: &generator)))
            }
            let request = SignatureV4.Request(path: path, query: query, headers: [Self.host])
            ours.append(try #require(signature(Self.s3.sign(request, at: Self.s3Time))))
            cases.append(["path": path, "query": query.map { [$0.name, $0.value] }])
        }
        guard let theirs = try await Python.botocoreSignatures(cases) else {
            print("SKIPPED: python3 has no botocore; signatures are checked against the published vectors only")
            return
        }
        #expect(theirs.count == 200, "seed \(seed)")
        for (index, pair) in zip(ours, theirs).enumerated() {
            #expect(pair.0 == pair.1, "seed \(seed), case \(index): \(cases[index])")
        }
    }

    @Test func secretsAreInNoDescription() {
        let credentials = Credentials(
            accessKeyID: "AKID", secretKey: Secret("canary1"), sessionToken: Secret("canary2"), origin: "a test")
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped, "\([credentials])", "\(Self.s3)"] {
            #expect(!text.contains("canary") && !text.contains("wJalr"))
        }
    }
}

enum Python {
    /// Nil where python3 or botocore is missing.
    static func botocoreSignatures(_ cases: [[String: Any]]) async throws -> [String]? {
        let program = #"""
            import sys, json, datetime
            try:
                from unittest import mock
                from urllib.parse import quote
                import botocore.auth as auth
                from botocore.awsrequest import AWSRequest
                from botocore.credentials import Credentials
            except ImportError:
                sys.exit(3)
            keys = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
            now = datetime.datetime(2013, 5, 24)
            result = []
            for case in json.load(sys.stdin):
                path = quote(case["path"], safe="/~")
                query = "&".join(quote(n, safe="~") + "=" + quote(v, safe="~") for n, v in case["query"])
                url = "http://examplebucket.s3.amazonaws.com" + path + ("?" + query if query else "")
                request = AWSRequest(method="GET", url=url)
                request.headers["host"] = "examplebucket.s3.amazonaws.com"
                request.headers["x-amz-content-sha256"] = auth.EMPTY_SHA256_HASH
                request.headers["x-amz-date"] = "20130524T000000Z"
                request.context["timestamp"] = "20130524T000000Z"
                signer = auth.S3SigV4Auth(keys, "s3", "us-east-1")
                canonical = signer.canonical_request(request)
                result.append(signer.signature(signer.string_to_sign(request, canonical), request))
            json.dump(result, sys.stdout)
            """#
        let input = NSTemporaryDirectory() + "reprise-sig-\(UUID().uuidString).json"
        try JSONSerialization.data(withJSONObject: cases).write(to: URL(fileURLWithPath: input))
        defer { try? FileManager.default.removeItem(atPath: input) }
        let (status, output) = try await Command.run("python3", ["-c", program], inputPath: input)
        guard status == 0 else {
            guard status == 3 || status == 127 else {
                Issue.record("python3 ended with \(status): \(output)")
                return nil
            }
            return nil
        }
        return try JSONDecoder().decode([String].self, from: Data(output.utf8))
    }
}
