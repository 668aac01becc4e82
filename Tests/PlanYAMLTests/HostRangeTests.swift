import PlanModel
import PlanYAML
import Testing

@Suite struct HostRangeTests {
    private func names(_ pattern: String) -> [String]? {
        readInventory(source("all: {hosts: {'\(pattern)': }}\n")).inventory?.hosts.map(\.name)
    }

    @Test func rangesExpandAsInAnsible() {
        #expect(names("web[01:03]") == ["web01", "web02", "web03"])
        #expect(names("web[8:11].example") == ["web8.example", "web9.example", "web10.example", "web11.example"])
        #expect(names("db-[a:c]") == ["db-a", "db-b", "db-c"])
        #expect(names("n[0:10:5]") == ["n0", "n5", "n10"])
        #expect(names("r[1:2]n[a:b]") == ["r1na", "r1nb", "r2na", "r2nb"])
    }

    @Test(arguments: [
        "w[", "w[]", "w[1]", "w[1:2:0]", "w[1:2:-1]", "w[a:1]", "w[01:100]", "w[1:99999]", "w[1:9999]x[1:9999]",
        "w[1:2:3:4]", "w[é:z]",
    ])
    func aRangeThatIsNoneIsRefused(pattern: String) {
        #expect(names(pattern) == nil)
    }
}

@Suite struct JSONSchemaTests {
    @Test func theSchemaKnowsEveryKindAndField() {
        let schema = planJSONSchema(kinds: registry)
        let text = schema.json(indent: 2)
        #expect(schema["$schema"]?.value == "https://json-schema.org/draft/2020-12/schema")
        for kind in registry {
            #expect(text.contains("\"const\": \"\(kind.name)\""))
            for field in kind.fields { #expect(text.contains("\"\(field.name)\": {")) }
        }
        // JSON is YAML, so our own reader can say that it is well-formed.
        #expect(composeYAML(source(text)).diagnostics.isEmpty)
        let step = schema["$defs"]?.value["step"]?.value
        #expect(step?["allOf"]?.value.list?.count == registry.count)
        #expect(step?["additionalProperties"]?.value == .boolean(false))
    }
}
