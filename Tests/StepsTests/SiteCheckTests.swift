import BlockingIO
import Foundation
import Glibc
import ObjectStorage
import RunCore
import TestSupport
import Testing

@testable import Steps

/// What an answer is held against.
@Suite struct SiteRequestTests {
    private func request(_ wish: JSONValue) async throws -> SiteRequest { try await SiteRequest(wish) { "secret of \($0)" } }
    private func answer(_ status: Int, _ body: String = "", location: String? = nil) -> HTTPSession.Answer {
        HTTPSession.Answer(status: status, headers: location.map { [HTTPHeader("location", $0)] } ?? [], body: Array(body.utf8))
    }

    @Test func anAnswerPassesOnlyWhereAllOfItIsAsItMustBe() async throws {
        let wish: JSONValue = ["path": "/", "status": 200, "contains": ["Members", "Ann"], "lacks": ["error"]]
        #expect(try await request(wish).problem(with: answer(200, "Members: Ann")) == nil)
        #expect(try await request(wish).problem(with: answer(500, "Members: Ann")) == "answered 500, expected 200")
        #expect(try await request(wish).problem(with: answer(200, "Members: Bob")) == "does not hold \"Ann\"")
        #expect(try await request(wish).problem(with: answer(200, "Members: Ann; an error")) == "holds \"error\"")
    }

    @Test func aRedirectLeadsWhereItMust() async throws {
        let wish: JSONValue = ["path": "/login", "status": 302, "location": "/members"]
        #expect(try await request(wish).problem(with: answer(302, location: "https://x/members")) == nil)
        #expect(try await request(wish).problem(with: answer(302, location: "https://x/login")) != nil)
        #expect(try await request(wish).problem(with: answer(302)) != nil)
    }

    @Test func aFileComesBackByteForByte() async throws {
        let wish: JSONValue = ["path": "/f", "sha256": "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"]
        #expect(try await request(wish).problem(with: answer(200, "abc")) == nil)
        #expect(try await request(wish).problem(with: answer(200, "abd")) != nil)
    }

    @Test func membersOfJSONAreCompared() async throws {
        let wish: JSONValue = ["path": "/api", "json": ["status": "ok"]]
        #expect(try await request(wish).problem(with: answer(200, #"{"status":"ok","n":1}"#)) == nil)
        #expect(try await request(wish).problem(with: answer(200, #"{"status":"down"}"#)) != nil)
        #expect(try await request(wish).problem(with: answer(200, "<html>")) != nil)
    }

    @Test func whatWasPickedIsSentAndSecretsAreSentAsTheyAre() async throws {
        let request = try await request(["path": "/", "form": ["_token": "@{token}", "password": ["secret": "@{token}"], "n": 3], "pick": ["token": #"value="([^"]+)""#]])
        let picked = try request.pick[0].1.first(in: Array(#"<input value="abc">"#.utf8), of: "/")
        let form = try #require(request.filled(["token": picked]))
        #expect(form.map { "\($0.name)=\($0.value)" } == ["_token=abc", "n=3", "password=secret of @{token}"])
        #expect(throws: SiteMismatch.self) { try request.pick[0].1.first(in: Array("<input>".utf8), of: "/") }
    }

    @Test func mistakesOfThePlanAreRefused() async throws {
        await #expect(throws: StepRefused.self) { try await request(["path": "login"]) }
        await #expect(throws: StepRefused.self) { try await request(["path": "/", "pick": ["x": "("]]) }
        for site in ["", "example.org", "ftp://x", "https://", "https://x/login", "https://user@x", "https://x?y"] {
            #expect(throws: StepRefused.self, "\(site)") { try SiteVisit.checked(site) }
        }
        #expect(try SiteVisit.checked("https://x:8443/") == "https://x:8443")
    }

    @Test func aCertificateThatEndsSoonDoesNotPass() throws {
        let now = Date(timeIntervalSince1970: 1_800_000_000)
        #expect(try SiteVisit.judged(now + 8 * 86_400, of: "https://x", .seconds(7 * 86_400), now: now).contains("valid until"))
        #expect(throws: SiteMismatch.self) { try SiteVisit.judged(now + 6 * 86_400, of: "https://x", .seconds(7 * 86_400), now: now) }
    }
}

/// Where this machine's own name service leads.
@Suite struct SiteLeadTests {
    private func lead(_ site: String, _ address: String) async throws -> SiteLead {
        try await SiteLead.find(site, connectTo: address, deadline: Deadline(after: .seconds(300)))
    }

    @Test func aNameThatLeadsToWhatIsVisitedIsToldApartFromOthers() async throws {
        let here = try await lead("https://localhost:8443", "127.0.0.1:8443")
        #expect(here.isHere && here.sentence.hasPrefix("the name service leads localhost to 127.0.0.1"), "\(here)")
        let elsewhere = try await lead("https://localhost", "192.0.2.7")
        #expect(!elsewhere.isHere && elsewhere.sentence.contains("127.0.0.1") && elsewhere.sentence.hasSuffix("and not to 192.0.2.7: people do not reach it"), "\(elsewhere)")
        let nowhere = try await lead("https://no-such-name.invalid", "192.0.2.7:443")
        #expect(!nowhere.isHere && nowhere.sentence == "the name service knows no address of no-such-name.invalid: people do not reach 192.0.2.7")
    }

    @Test func onlyWhereThePlanAsksForItIsThatAWarningOrAFailure() async throws {
        let here = try await lead("https://localhost", "localhost"), nowhere = try await lead("https://no-such-name.invalid", "192.0.2.7")
        for wish in ["report", "warn", "require"] { #expect(try here.warnings(wish) == []) }
        #expect(try nowhere.warnings("report") == [])
        #expect(try nowhere.warnings("warn") == [nowhere.sentence])
        let failure = #expect(throws: SiteMismatch.self) { try nowhere.warnings("require") }
        #expect(failure?.message == nowhere.sentence && failure?.hints.first?.contains("192.0.2.7") == true)
    }

    /// Not told in time is not the same as led elsewhere.
    @Test func aNameServiceThatDoesNotAnswerIsNotTakenForAnAnswer() async throws {
        await #expect(throws: DeadlineExceeded.self) {
            try await NameService.addresses(of: "localhost", deadline: Deadline(after: .milliseconds(200)), asking: ["tail", "-f", "/dev/null", "--"])
        }
        let lead = SiteLead(name: "example.org", visited: "192.0.2.7", addresses: nil, own: [])
        #expect(!lead.isHere && lead.sentence.contains("did not say") && lead.sentence.contains("example.org"))
    }

    @Test func portsAndBracketsAreNoPartOfAName() {
        for (text, host) in [("example.org:8443", "example.org"), ("example.org", "example.org"), ("[2001:db8::1]:443", "2001:db8::1"), ("2001:db8::1", "2001:db8::1")] {
            #expect(SiteLead.host(text) == host)
        }
        #expect(SiteLead.name(of: "https://example.org:8443") == "example.org")
    }
}

/// Real handshakes and requests, with OpenSSL's own server.
@Suite final class SiteVisitTests {
    private let folder: TestFolder
    private let server: Process
    private let port: Int

    init() async throws {
        folder = try TestFolder()
        try tool("sh", "-euc", """
            cd '\(folder.path)'
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 30 2>/dev/null
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out site.csr -subj /CN=site 2>/dev/null
            printf 'subjectAltName=DNS:www.example.org,DNS:example.org\\n' >names
            openssl x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 20 -extfile names -out site.pem 2>/dev/null
            """)
        try folder.write("served", to: "page")
        server = Process()
        server.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        server.arguments = ["s_server", "-accept", "127.0.0.1:0", "-cert", "site.pem", "-key", "key.pem", "-WWW"]
        server.currentDirectoryURL = URL(fileURLWithPath: folder.path)
        try folder.write("", to: "said")
        server.standardOutput = FileHandle(forWritingAtPath: folder.file("said"))
        server.standardError = FileHandle.nullDevice
        server.standardInput = FileHandle.nullDevice
        try server.run()
        // Looked at once more after the last wait: on a busy machine that may have been a long one.
        let deadline = Deadline(after: .seconds(60)), folder = self.folder
        func listening() -> Substring? { folder.text("said")?.split(separator: "\n").first { $0.hasPrefix("ACCEPT ") } }
        while listening() == nil, !deadline.hasPassed { try await Task.sleep(for: .milliseconds(20)) }
        let line = listening()
        port = try #require(line?.split(separator: ":").last.flatMap { Int($0) }, "openssl s_server does not listen")
    }

    deinit { kill(server.processIdentifier, SIGKILL) }

    private func session(trusting file: String? = "ca.pem") -> HTTPSession {
        HTTPSession(connectTo: "127.0.0.1:\(port)", trustedCertificates: file.map { folder.file($0) })
    }

    @Test func theCertificateIsSeenUnderEachNameWithItsEnd() async throws {
        for name in ["www.example.org", "example.org"] {
            let end = try await session().certificateEnd("https://\(name)/", timeout: .seconds(20))
            #expect(abs(end.timeIntervalSinceNow - 20 * 86_400) < 600, "\(end)")
        }
    }

    @Test func oneForAnotherNameOrOfAStrangerIsNotTrusted() async throws {
        for (name, file) in [("mail.example.org", "ca.pem"), ("www.example.org", nil)] as [(String, String?)] {
            let error = await #expect(throws: ObjectStorageError.self) {
                try await self.session(trusting: file).certificateEnd("https://\(name)/", timeout: .seconds(20))
            }
            #expect(error?.message.contains("cannot be trusted") == true, "\(String(describing: error))")
        }
    }

    @Test func aPageIsFetchedUnderItsNameFromAnotherAddress() async throws {
        let session = session()
        _ = try await session.certificateEnd("https://www.example.org/", timeout: .seconds(20))
        let answer = try await session.request("https://www.example.org/page", limitBytes: 1 << 20, timeout: .seconds(20))
        #expect(answer.status == 200 && String(decoding: answer.body, as: UTF8.self).hasPrefix("served"))
    }
}

/// A site that answers every request in one way, and counts them.
@Suite final class SiteRefusalTests {
    private let folder: TestFolder
    private let server = Process()

    init() throws { folder = try TestFolder() }
    deinit { if server.isRunning { kill(server.processIdentifier, SIGKILL) } }

    /// - Returns: how many requests came until the step ended.
    private func requests(answer: String) async throws -> Int {
        try folder.write("", to: "port")
        try folder.write("", to: "requests")
        server.executableURL = URL(fileURLWithPath: "/usr/bin/perl")
        server.arguments = ["-e", """
            use IO::Socket::INET; $| = 1;
            my $server = IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1") or die; syswrite(STDOUT, $server->sockport . "\\n");
            while (my $client = $server->accept) {
                my $length = 0;
                while (<$client>) { $length = $1 if /^content-length: (\\d+)/i; last if /^\\r?$/ }
                read $client, my $form, $length;
                open my $seen, ">>", "requests"; syswrite($seen, "$form\\n"); close $seen;
                syswrite($client, "HTTP/1.1 \(answer)\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"); close $client;
            }
            """]
        server.currentDirectoryURL = URL(fileURLWithPath: folder.path)
        server.standardOutput = FileHandle(forWritingAtPath: folder.file("port"))
        try server.run()
        let deadline = Deadline(after: .seconds(60))
        while folder.text("port")?.hasSuffix("\n") != true, !deadline.hasPassed { try await Task.sleep(for: .milliseconds(20)) }
        let port = try #require(folder.text("port")).trimmed
        let context = StepContext.own(
            ["site": .string("http://127.0.0.1:\(port)"), "within": "3s", "requests": [["path": "/login", "form": ["password": ["secret": "visitor"]], "status": 302, "location": "/members"]]],
            secrets: ["visitor": "not the password"])
        let refused = await #expect(throws: StepRefused.self) { try await SiteCheckStep().perform(context) }
        #expect(refused?.exitStatus == .verificationMismatch && refused?.hints.contains { $0.contains("the secret visitor is right") } == true)
        return folder.text("requests")?.split(separator: "\n").count ?? 0
    }

    /// Each further try would be one more wrong log-in, until the account is locked.
    @Test(arguments: ["302 Found\r\nLocation: /login", "401 Unauthorized", "403 Forbidden", "422 Unprocessable", "429 Too Many Requests"])
    func aSecretThatIsRefusedIsSentOnce(answer: String) async throws { #expect(try await requests(answer: answer) == 1) }

    @Test(arguments: ["503 Service Unavailable", "404 Not Found"])
    func aSiteThatIsNotReadyIsAskedAgain(answer: String) async throws { #expect(try await requests(answer: answer) > 1) }
}
