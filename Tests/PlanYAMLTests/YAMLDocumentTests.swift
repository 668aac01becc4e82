import Foundation
import PlanModel
import PlanYAML
import RunCore
import Testing

@Suite struct YAMLDocumentTests {
    private func problem(_ bytes: [UInt8]) -> String? {
        let composed = composeYAML(SourceText(bytes, file: "p.yaml"))
        return found(composed.diagnostics).first
    }

    private func problem(_ text: String) -> String? { problem(Array(text.utf8)) }

    @Test(arguments: ["", "\n\n", "# only a comment\n", "---\n", "--- ~\n...\n"])
    func anEmptyFileIsCalledEmpty(text: String) {
        let expected = "1:1: error: the file is empty [yaml.empty]"
        let plan = readPlan(source(text), kinds: registry, inventory: nil)
        #expect(plan.plan == nil)
        #expect(
            found(plan.diagnostics).first == expected
                || found(plan.diagnostics) == ["1:5: error: the plan: expected a map, found nothing [plan.wrong-type]"])
        if !text.contains("~") { #expect(found(plan.diagnostics) == [expected]) }
    }

    @Test func proseIsNoPlan() {
        #expect(
            found(
                readPlan(source("Dear responder,\nplease restore the database.\n"), kinds: registry, inventory: nil)
                    .diagnostics)
                == [
                    "1:1: error: the plan: expected a map, found text `Dear responder, please restore the datab…` [plan.wrong-type]"
                ])
    }

    @Test func invalidUTF8IsLocatedByByte() {
        #expect(
            problem(Array("name: x\ntitle: caf".utf8) + [0xE9] + Array("\n".utf8))
                == "2:11: error: the byte at offset 18 (0xE9) is not UTF-8 [yaml.not-utf8]")
        #expect(
            problem([0xFF, 0xFE, 0x61, 0x00]) == "1:1: error: the byte at offset 0 (0xFF) is not UTF-8 [yaml.not-utf8]")
        // Overlong, a surrogate, cut off at the end.
        #expect(problem([0x61, 0xC0, 0xAF])?.contains("offset 1 ") == true)
        #expect(problem([0x61, 0xED, 0xA0, 0x80])?.contains("offset 1 ") == true)
        #expect(problem(Array("é".utf8) + [0xF0, 0x9F])?.contains("offset 2 ") == true)
    }

    @Test func columnsCountCharactersAndNotBytes() {
        #expect(
            problem("{naïve: 1, naïve: 2}") == "1:12: error: the key `naïve` stands here twice [yaml.duplicate-key]")
    }

    @Test func controlCharactersAreLocated() {
        #expect(problem("a: x\u{0}y\n") == "1:5: error: a NUL character at offset 4 [yaml.control-character]")
        #expect(
            problem("a: 1\nb: \u{1B}[31m\n")
                == "2:4: error: the control character U+001B at offset 8 [yaml.control-character]")
    }

    @Test func aBombOfAliasesIsRefusedQuickly() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...12 {
            text +=
                "a\(level): &a\(level) [" + Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
                + "]\n"
        }
        let clock = ContinuousClock()
        var problem: String?
        let time = clock.measure { problem = self.problem(text) }
        #expect(problem?.hasSuffix("[yaml.too-many-nodes]") == true)
        #expect(time < .seconds(20))
    }

    @Test func aBombInsideAKeyIsRefusedQuickly() {
        // Hashing the key by following its aliases would take 2 to the 60th steps.
        var text = "a0: &a0 [x]\n"
        for level in 1...60 { text += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
        text += "? *a60\n: 1\n"
        #expect(problem(text)?.contains("yaml.too-") == true)
    }

    @Test func anAliasThatContainsItselfRefersToNothing() {
        #expect(
            problem("a: &a [*a]\n") == "1:8: error: the alias `*a` refers to nothing before it [yaml.unknown-alias]")
    }

    @Test func aliasesStandForTheirValuesAtTheirOwnPlace() {
        let root = composeYAML(source("a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n  d: 2\n")).root
        #expect(root?.value["b"]?.value["k"]?.value == .integer(1))
        #expect(root?.value["b"]?.mark.line == 2)
        #expect(root?.value["c"]?.value == .object(["d": .integer(2), "k": .integer(1)]))
    }

    @Test func whatIsWrittenWinsOverWhatIsMerged() {
        let root = composeYAML(source("a: &x {k: 1, l: 1}\nb: {<<: *x, k: 2}\nc: {k: 3, <<: [*x, {l: 9, m: 4}]}\n"))
            .root
        #expect(root?.value["b"]?.value["k"]?.value == .integer(2))
        #expect(root?.value["b"]?.value["l"]?.value == .integer(1))
        #expect(root?.value["c"]?.value == .object(["k": .integer(3), "l": .integer(1), "m": .integer(4)]))
    }

    @Test func nestingIsBounded() {
        let deepest = 64
        func flow(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        #expect(problem(flow(deepest)) == nil)
        #expect(problem(flow(deepest + 1)) == "1:65: error: lists and maps are nested deeper than 64 [yaml.too-deep]")
        #expect(problem(String(repeating: "[", count: 500_000))?.hasSuffix("[yaml.too-deep]") == true)
        #expect(problem(String(repeating: "- ", count: 300_000))?.hasSuffix("[yaml.too-deep]") == true)
        #expect(problem(String(repeating: "? ", count: 300_000))?.contains("[yaml.") == true)
        let nested = (0..<200).map { String(repeating: " ", count: $0) + "a:\n" }.joined()
        #expect(problem(nested)?.hasSuffix("[yaml.too-deep]") == true)
        #expect(
            problem(
                "a: &a \(flow(40))\nb: \(String(repeating: "[", count: 30))*a\(String(repeating: "]", count: 30))\n")?
                .hasSuffix("[yaml.too-deep]") == true)
    }

    @Test func aFileOfMoreThanTwoMegabytesIsRefused() {
        let text = "a: " + String(repeating: "x", count: SourceText.mostBytes)
        #expect(problem(text)?.hasSuffix("[yaml.too-large]") == true)
    }

    @Test func scalarsMeanWhatYAML12SaysAndAmbiguousOnesStayText() {
        let expected: [(String, PlanValue)] = [
            ("15", .integer(15)), ("-3", .integer(-3)), ("0", .integer(0)), ("1.5", .double(1.5)),
            ("1e3", .double(1000)), ("true", .boolean(true)),
            ("False", .boolean(false)), ("null", .null), ("~", .null), ("yes", .string("yes")), ("No", .string("No")),
            ("on", .string("on")),
            ("off", .string("off")), ("0123", .string("0123")), ("1_000", .string("1_000")), ("0x1F", .string("0x1F")),
            ("0o17", .string("0o17")),
            ("1:30", .string("1:30")), ("2026-11-23", .string("2026-11-23")), (".inf", .string(".inf")),
            (".nan", .string(".nan")),
            ("+5", .string("+5")), ("\"15\"", .string("15")), ("'true'", .string("true")), ("!!str 15", .string("15")),
            ("! 15", .string("15")),
            ("!!int 15", .integer(15)), ("!vault x", .opaque(tag: "!vault")),
            ("9223372036854775808", .string("9223372036854775808")),
        ]
        for (text, value) in expected {
            #expect(composeYAML(source("k: \(text)\n")).root?.value["k"]?.value == value, "\(text)")
        }
    }

    @Test func onIsAnOrdinaryKey() {
        #expect(
            composeYAML(source("on: db1\noff: 1\nyes: 2\n")).root?.value
                == .object(["on": "db1", "off": .integer(1), "yes": .integer(2)]))
    }

    @Test func excerptsPointAtTheColumnAndCannotSteerATerminal() {
        let text = source("a: 1\nb: naïve \u{202E} x\n\tc: 2\n")
        #expect(
            text.excerpt(at: SourceMark(file: "p.yaml", line: 2, column: 4))
                == "    2 | b: naïve \u{FFFD} x\n      |    ^")
        #expect(text.excerpt(at: SourceMark(file: "p.yaml", line: 9, column: 1)) == nil)
        let long = source("key: " + String(repeating: "x", count: 1000) + "!" + String(repeating: "y", count: 1000))
        let excerpt = long.excerpt(at: SourceMark(file: "p.yaml", line: 1, column: 1006)) ?? ""
        let lines = excerpt.split(separator: "\n")
        #expect(lines.count == 2 && lines[0].count < 130)
        #expect(Array(lines[0])[lines[1].count - 1] == "!")
    }

    @Test func aRefusalListsEveryFindingWithItsExcerpt() {
        let refused = DocumentRefused(
            subject: "plan p.yaml",
            diagnostics: readPlan(
                source("reprise: 1\nname: x\nsteps:\n  - {id: a, kind: comand}\n  - {id: b, knd: approval}\n"),
                kinds: registry, inventory: nil
            ).diagnostics)
        #expect(
            refused.description == """
                p.yaml:4:19: error: step `a`: there is no kind `comand` [plan.unknown-kind]
                    4 |   - {id: a, kind: comand}
                      |                   ^
                HINT: did you mean `command`?
                p.yaml:5:5: error: step `b`: `kind` is missing [plan.missing-field]
                    5 |   - {id: b, knd: approval}
                      |     ^
                HINT: kinds: command, fetch-backup, postgres-check, postgres-settle, postgres-restore, postgres-verify, postgres-swap, approval, http-check, sql-check
                p.yaml:5:13: error: step `b`: unknown key `knd` [plan.unknown-key]
                    5 |   - {id: b, knd: approval}
                      |             ^
                HINT: did you mean `kind`?
                plan p.yaml is refused: 3 errors
                """)
        #expect(refused.exitStatus == .usage)
    }

    @Test func whatCannotBeReadIsNamed() {
        #expect(throws: FileUnreadable.self) {
            try loadPlan(at: "/nonexistent/plan.yaml", kinds: registry, inventory: nil)
        }
        do { _ = try loadPlan(at: "/", kinds: registry, inventory: nil) } catch {
            #expect("\(error)" == "cannot read the plan /: is a directory")
        }
    }
}
