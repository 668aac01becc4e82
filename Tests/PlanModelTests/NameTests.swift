import PlanModel
import RunCore
import Testing

/// What a shell, a path, a terminal or SQL could take for more than a name.
let hostileNames = [
    "../etc/passwd", "a/../b", "a\0b", "a\nb", "-rf", "--help", "a'b", "a\"b", "$(id)", "`id`", "a b", "a;b", "a|b",
    "a&b", "a>b", "*", "?", "~root", "a\u{1B}[31m",
    "\u{202E}cba", "a\\b", "%h", "", " ", "a\tb", "a\u{2028}b",
]

@Suite struct NameTests {
    @Test(arguments: hostileNames)
    func aHostileNameIsNoNameOfAnything(name: String) {
        #expect(!Name.isHost(name))
        #expect(!Name.isAddress(name))
        #expect(!Name.isAccount(name))
        #expect(!Name.isPlain(name))
        #expect(!Name.isBucket(name))
        #expect(!Name.isHTTPURL(name))
        #expect(StepID(name) == nil)
        #expect(JumpHost(name) == nil)
    }

    @Test func ordinaryNamesPass() {
        #expect(["db1", "db-1.example.net", "DB_1", "1a"].allSatisfy(Name.isHost))
        #expect(["10.77.0.12", "::1", "fe80::1%eth0", "db1.example.net"].allSatisfy(Name.isAddress))
        #expect(["root", "www-data", "_apt", "a.b"].allSatisfy(Name.isAccount))
        #expect(["/", "/var/lib/x y", "~/.ssh/id", "/a'b", "/..a/b.."].allSatisfy(Name.isPath))
        #expect(!["", "a", "./a", "/a/../b", "~root/x", "/a\nb", "/a\0", "~"].contains(where: Name.isPath))
        #expect(["http://10.77.0.10:7480", "https://x.example/a?b=c#d"].allSatisfy(Name.isHTTPURL))
        #expect(
            !["http://", "http://user:pw@x/", "ftp://x", "http://-x", "http://a b", "http://a\nb"].contains(
                where: Name.isHTTPURL))
    }

    @Test func identifiersAreAnythingThatTheServerStores() {
        let legal = [
            "chms_production", "Mixed Case", "select", "a\"b", "a'b", "$(id)", "../x", "-rf", "naïve",
            String(repeating: "x", count: 63), "; DROP DATABASE x", "%s", "\\",
        ]
        #expect(legal.allSatisfy(Name.isSQLIdentifier))
        // 63 bytes, not characters.
        #expect(!Name.isSQLIdentifier(String(repeating: "é", count: 32)))
        #expect(
            !["", String(repeating: "x", count: 64), "a\0b", "a\nb", "a\u{1B}b", "a\u{202E}b"].contains(
                where: Name.isSQLIdentifier))
    }

    @Test func jumpHostsAreReadAsOpenSSHDoes() {
        #expect(JumpHost("bastion") == JumpHost(host: "bastion"))
        #expect(JumpHost("ops@bastion:2200") == JumpHost(user: "ops", host: "bastion", port: 2200))
        #expect(JumpHost("[fe80::1]:22") == JumpHost(host: "fe80::1", port: 22))
        #expect(JumpHost("ssh://ops@bastion") == JumpHost(user: "ops", host: "bastion"))
        #expect(
            JumpHost("bastion:0") == nil && JumpHost("bastion:x") == nil && JumpHost("-x@bastion") == nil
                && JumpHost("@bastion") == nil)
        for text in ["bastion", "ops@bastion:2200", "[fe80::1]:22"] { #expect(JumpHost(text)?.description == text) }
    }

    @Test func printedTextCannotSteerATerminal() {
        #expect(printable("a\nb\t\u{1B}[31m\u{202E}é") == "a\\nb\\t\\u{1b}[31m\\u{202e}é")
        #expect(printable("abcdef", limit: 3) == "abc…")
    }

    @Test func secretsAreReferences() {
        #expect(SecretReference("env:CHMS_PW")?.description == "env:CHMS_PW")
        #expect(SecretReference("file:/etc/x y")?.description == "file:/etc/x y")
        #expect(SecretReference("command:pass show x:y")?.description == "command:pass show x:y")
        for text in [
            "hunter2", "env:", "env:A B", "env:1A", "file:x", "file:/../x", "FILE:/x", "command:", "command:a\nb", "",
        ] { #expect(SecretReference(text) == nil, "\(text)") }
    }
}
