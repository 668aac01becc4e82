import PlanModel
import RunCore
import Testing

@Suite struct TemplateTests {
    @Test func referencesAreFoundAndEscapesAreLiteral() throws {
        #expect(try Template("plain").parts == [.text("plain")])
        #expect(try Template("{{ params.a-b }}").whole == .parameter("a-b"))
        #expect(try Template("{{params.a}}").whole == .parameter("a"))
        #expect(
            try Template("x {{ steps.fetch.key }} y").parts == [
                .text("x "), .reference(.output(StepID("fetch")!, "key")), .text(" y"),
            ])
        #expect(try Template("{{ host.address }}{{ run.id }}").references == [.host("address"), .run("id")])
        #expect(try Template(#"\{{ params.a }}"#).parts == [.text("{{ params.a }}")])
        #expect(try Template("").parts == [.text("")])
        #expect(try Template("{ {").parts == [.text("{ {")])
    }

    @Test(arguments: [
        "{{", "{{ }}", "{{ params }}", "{{ params.a", "{{ params.a }", "{{ params.a | x }}", "{{ params.a.b }}",
        "{{ env.HOME }}", "{{ params.$(id) }}", "{{ steps.A.x }}", "{{\nparams.a }}", "{{ run.x }}",
    ])
    func whatIsNoReferenceIsRefused(text: String) {
        #expect(throws: Template.Malformed.self) { try Template(text) }
    }

    @Test func bracesInScriptsAreFoundUnlessEscaped() {
        let expected: [(String, Int?)] = [
            ("echo", nil), ("echo {{ x }}", 5), (#"echo \{{ x }}"#, nil), (#"\{{ a {{ b"#, 6), ("a { { b", nil),
            ("{{", 0), (#"\{{{"#, nil), (#"\{{{{"#, 3), ("é{{", 1),
        ]
        for (script, offset) in expected { #expect(Template.firstBraces(inScript: script) == offset, "\(script)") }
        #expect(
            Template.unescapedScript(#"docker ps --format '\{{.Names}}' \n \{x"#)
                == #"docker ps --format '{{.Names}}' \n \{x"#)
    }
}

@Suite struct ParameterTests {
    private let plan = Plan(
        name: "p",
        parameters: [
            Parameter(name: "text", defaultValue: .string("d")), Parameter(name: "db", kind: .identifier),
            Parameter(name: "n", kind: .integer, isRequired: true, help: "how many"),
            Parameter(name: "flag", kind: .boolean), Parameter(name: "wait", kind: .duration),
            Parameter(name: "at", kind: .time),
            Parameter(name: "mode", kind: .choice, choices: ["fast", "slow"]),
            Parameter(name: "pass-word", isSecret: true),
        ], steps: [])

    @Test func wordsBecomeTypedValues() throws {
        let bound = ParameterBinding.bind(
            [
                "db=Mixed \"Case\"=x", "n=-5", "flag=no", "wait=1h30m", "at=2026-11-23T02:14:07Z", "mode=slow",
                "pass-word=env:PW",
            ], to: plan)
        let binding = try #require(bound.binding)
        #expect(binding["text"] == .string("d"))
        #expect(binding["db"] == .identifier("Mixed \"Case\"=x"))
        #expect(
            binding["n"] == .integer(-5) && binding["flag"] == .boolean(false)
                && binding["wait"] == .duration(.seconds(5400)))
        #expect(binding["at"] == .time(PlanTime(secondsSinceEpoch: 1_795_400_047), text: "2026-11-23T02:14:07Z"))
        #expect(binding["pass-word"] == .secret(.environment("PW")))
        #expect(binding.given == ["db", "n", "flag", "wait", "at", "mode", "pass-word"])
        #expect(binding.environment["PARAM_WAIT"] == "1h30m" && binding.environment["PARAM_FLAG"] == "false")
        #expect(
            binding.environment["PARAM_PASS_WORD"] == nil
                && binding.secretEnvironment == ["PARAM_PASS_WORD": .environment("PW")])
    }

    @Test(arguments: hostileNames.filter { !$0.contains("\0") })
    func aHostileTextIsPassedLiterally(text: String) throws {
        let binding = try #require(ParameterBinding.bind(["n=1", "text=\(text)"], to: plan).binding)
        #expect(binding.environment["PARAM_TEXT"] == text)
    }

    @Test func everyProblemIsReportedAtOnce() {
        let (binding, diagnostics) = ParameterBinding.bind(
            ["txet=a", "db=", "flag=maybe", "flag", "mode=fats", "pass-word=hunter2", "text=a\0b", "text=b"], to: plan)
        #expect(binding == nil)
        #expect(
            diagnostics.map(\.message) == [
                "the plan has no parameter `txet`",
                "parameter `db` expects an SQL identifier of 1 to 63 bytes without control characters",
                "parameter `flag` expects true or false (yes, no, on and off do too)", "a parameter without a value",
                "parameter `mode` expects one of fast, slow",
                "parameter `pass-word` is secret: it takes env:NAME, file:/path or command:…, never the secret itself",
                "parameter `text` holds a NUL character",
                "parameter `text` is given twice", "parameter `n` is required: how many",
            ])
        #expect(diagnostics[0].hints == ["did you mean `text`?"])
        #expect(!diagnostics.contains { $0.description.contains("hunter2") })
    }
}

@Suite struct RenderingTests {
    private let schema = StepKindSchema(
        name: "k", summary: "",
        fields: [
            FieldSchema("script", .text), FieldSchema("name", .identifier),
            FieldSchema("count", .integer, range: 1...10), FieldSchema("flag", .boolean, default: .boolean(true)),
            FieldSchema("text", .string), FieldSchema("env", .map(.string), allowsSecret: true),
            FieldSchema("secret", .secretRef), FieldSchema("any", .any), FieldSchema("wait", .duration),
            FieldSchema("path", .path), FieldSchema("user", .account), FieldSchema("mode", .choice(["a", "b"])),
        ])

    private func render(
        _ fields: KeyValuePairs<String, PlanValue?>, _ values: [String: ParameterValue] = [:], hosts: [Host] = []
    ) throws -> PlanValue {
        let scope = TemplateScope(parameters: ParameterBinding(values: values), hosts: hosts, run: ["id": "r1"]) {
            id, name in
            id.rawValue == "fetch" && name == "rows" ? .integer(7) : nil
        }
        return try renderFields(.object(fields), schema: schema, scope: scope)
    }

    @Test func wholeReferencesKeepTheirTypes() throws {
        let fields = try render(
            [
                "name": "{{ params.db }}", "count": "{{ steps.fetch.rows }}", "flag": "{{ params.flag }}",
                "wait": "{{ params.wait }}", "any": ["{{ params.n }}"].planList,
            ],
            ["db": .identifier("a\"b"), "flag": .boolean(false), "wait": .duration(.seconds(90)), "n": .integer(3)])
        #expect(fields["name"]?.value == "a\"b")
        #expect(fields["count"]?.value == .integer(7))
        #expect(fields["flag"]?.value == .boolean(false))
        #expect(fields["wait"]?.value == "1m30s")
        #expect(fields["any"]?.value == .array([.integer(3)]))
    }

    @Test func referencesInsideTextAreFilledIn() throws {
        let host = Host(name: "db1", address: "10.0.0.1", variables: [MapEntry(key: "v", value: Located(.integer(5)))])
        let fields = try render(
            [
                "text": "{{ run.id }}: {{ params.n }} of {{ host.name }}@{{ host.address }} {{ host.v }} \\{{x}}",
                "name": "{{ params.db }}_new",
            ],
            ["n": .integer(3), "db": .identifier("x")], hosts: [host])
        #expect(fields["text"]?.value == "r1: 3 of db1@10.0.0.1 5 {{x}}")
        #expect(fields["name"]?.value == "x_new")
    }

    @Test func onSeveralHostsAReferenceIsWhatAllOfThemSay() throws {
        func host(_ name: String, _ variables: KeyValuePairs<String, PlanValue>) -> Host {
            Host(name: name, user: "deploy", variables: variables.map { MapEntry(key: $0.key, value: Located($0.value)) })
        }
        let hosts = [host("app1", ["network": "10.0.0.0/24", "role": "app", "own": "x"]), host("db1", ["network": "10.0.0.0/24", "role": "db"])]
        #expect(try render(["text": "{{ host.user }} {{ host.network }}"], hosts: hosts)["text"]?.value == "deploy 10.0.0.0/24")
        func problem(_ name: String) -> String? {
            do { _ = try render(["text": .string("{{ host.\(name) }}")], hosts: hosts) } catch { return (error as? RenderError)?.code }
            return nil
        }
        #expect(problem("role") == "plan.different-hosts")
        #expect(problem("name") == "plan.different-hosts")
        #expect(problem("own") == "plan.no-variable")
    }

    @Test func aValueIsNeverReadAsATemplate() throws {
        for value in hostileNames.filter({ !$0.contains("\0") }) + ["{{ params.other }}", #"\{{"#] {
            let fields = try render(
                ["text": "{{ params.t }}", "any": "<{{ params.t }}>"], ["t": .string(value), "other": .string("leak")])
            #expect(fields["text"]?.value == .string(value))
            #expect(fields["any"]?.value == .string("<\(value)>"))
        }
    }

    @Test func scriptsAreLiteral() throws {
        let fields = try render(["script": #"echo $X '\{{.Names}}' \n"#], ["X": .string("y")])
        #expect(fields["script"]?.value == "echo $X '{{.Names}}' \\n")
    }

    @Test func defaultsFillWhatIsAbsent() throws {
        #expect(try render([:])["flag"]?.value == .boolean(true))
        #expect(
            try render(["flag": "{{ params.absent }}", "text": "{{ params.absent }}"])["flag"]?.value == .boolean(true))
        #expect(try render(["text": "{{ params.absent }}"])["text"] == nil)
    }

    @Test func secretsStayReferences() throws {
        let fields = try render(
            [
                "env": .object(["A": "{{ params.pw }}", "B": .object(["secret": "db-password"]), "C": "plain"]),
                "secret": "{{ params.pw }}",
            ],
            ["pw": .secret(.file("/run/pw"))])
        #expect(
            fields["env"]?.value
                == .object([
                    "A": .object(["secret": "file:/run/pw"]), "B": .object(["secret": "db-password"]), "C": "plain",
                ]))
        #expect(fields["secret"]?.value == "file:/run/pw")
        #expect(throws: RenderError.self) { try render(["text": "{{ params.pw }}"], ["pw": .secret(.file("/run/pw"))]) }
    }

    @Test func whatDoesNotFitItsFieldIsRefused() {
        let wrong: [(KeyValuePairs<String, PlanValue?>, ParameterValue)] = [
            (["count": "{{ params.x }}"], .integer(11)), (["count": "{{ params.x }}"], .string("5")),
            (["flag": "{{ params.x }}"], .string("true")),
            (["name": "{{ params.x }}_restore"], .identifier(String(repeating: "x", count: 60))),
            (["name": "{{ params.x }}"], .string("a\nb")),
            (["path": "{{ params.x }}"], .string("../etc")), (["path": "/srv/{{ params.x }}"], .string("../etc")),
            (["user": "{{ params.x }}"], .string("-root")),
            (["mode": "{{ params.x }}"], .choice("c")), (["wait": "{{ params.x }}"], .string("5")),
            (["text": "{{ params.x }}"], .string("a\0b")),
            (["text": "{{ steps.fetch.nothing }}"], .string("")), (["text": "{{ host.name }}"], .string("")),
            (["text": "a {{ params.absent }}"], .string("")),
        ]
        for (fields, value) in wrong {
            #expect(throws: RenderError.self, "\(fields)") { try render(fields, ["x": value]) }
        }
    }

    @Test func renderingTwiceChangesNothing() throws {
        let once = try render(["text": "{{ params.t }}", "count": .integer(2)], ["t": .string("plain")])
        #expect(
            try renderFields(once, schema: schema, scope: TemplateScope(parameters: ParameterBinding(values: [:])))
                == once)
    }
}

extension [String] {
    fileprivate var planList: PlanValue { .array(map { .string($0) }) }
}
