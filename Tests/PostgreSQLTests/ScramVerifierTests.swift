import PostgreSQL
import Testing

@Suite struct ScramVerifierTests {
    /// Made by PostgreSQL 15.
    static let password = "it's a $ecret % 手紙"
    static let kept = "SCRAM-SHA-256$4096:T+3jx4F1eJrodfKtm5kJOw==$zGrlvIAcECgeFW1ptJu3foitiq6skkGxK/fOhSBDRuc=:RjAqfXXwg1CZnUraAo6hzg6vt6feuuBEHjoebqDGRxE="

    @Test func itKnowsAPasswordByWhatPostgreSQLKeepsOfIt() {
        #expect(ScramVerifier.matches(Self.kept, password: Self.password))
        #expect(!ScramVerifier.matches(Self.kept, password: Self.password + " "))
        #expect(!ScramVerifier.matches(Self.kept, password: ""))
    }

    @Test func whatItMakesIsRecognisedAndHasNothingOfThePassword() {
        let made = ScramVerifier(password: "swordfish").text
        #expect(ScramVerifier.matches(made, password: "swordfish"))
        #expect(made != ScramVerifier(password: "swordfish").text, "the salt is new each time")
        #expect(!made.contains("swordfish"))
    }

    @Test(arguments: ["", "md5a3556571e93b0d20722ba62be61e8c2d", "SCRAM-SHA-256$0:AAAA$AAAA:AAAA", "SCRAM-SHA-256$4096:!$AAAA:AAAA", "SCRAM-SHA-256$99999999:AAAA$AAAA:AAAA"])
    func whatIsNoVerifierKnowsNoPassword(text: String) {
        #expect(!ScramVerifier.matches(text, password: "swordfish"))
    }
}
