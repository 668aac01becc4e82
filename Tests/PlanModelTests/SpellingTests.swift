import PlanModel
import Testing

@Suite struct SpellingTests {
    @Test func theNearestNameIsSuggested() {
        let names = ["command", "fetch-backup", "postgres-restore", "postgres-verify", "approval", "integer", "db1"]
        let expected: [(String, String?)] = [
            ("comand", "command"), ("fecth-backup", "fetch-backup"), ("postgres-verfy", "postgres-verify"),
            ("Approval", "approval"), ("bd1", "db1"),
            ("int", "integer"), ("xyz", nil), ("", nil), ("command", nil), ("postgres", "postgres-restore"),
        ]
        for (word, name) in expected {
            var speller = Speller()
            #expect(speller.nearest(to: word, among: names) == name, "\(word)")
        }
    }

    @Test func workIsBounded() {
        var speller = Speller(comparisons: 5)
        #expect(speller.nearest(to: "abd", among: ["x", "y", "z", "abc"]) == "abc")
        #expect(speller.nearest(to: "abd", among: ["x", "y", "z", "abc"]) == nil)
    }
}
