import PlanModel
import RunCore
import Testing

@testable import Steps

/// What the fields of the kinds that make a host ready take and refuse, before anything reaches a host.
@Suite struct HostFieldTests {
    private let step = StepID("step")!

    @Test(arguments: [["nginx", "php8.2-fpm", "g++", "libc6=2.36-9+deb12u14", "vim-tiny=2:9.0.1378-2"]])
    func packagesAreNamedAsDebianNamesThem(names: [String]) throws {
        #expect(try PackagesStep.checked(names, step: step) == names)
    }

    /// `nginx-` would take nginx away, others would be options, patterns or shell.
    @Test(arguments: ["nginx-", "-y", "--purge", "nginx*", "^ngi", "nginx curl", "Nginx", "nginx=", "nginx=1 curl", "nginx/stable", "n", "", "nginx:i386", "$(id)", "nginx=-y"])
    func whatAptWouldReadAsSomethingElseIsRefused(name: String) {
        #expect(throws: StepRefused.self) { try PackagesStep.checked([name], step: step) }
    }

    @Test func packagesAreNamedOnceAndAtAll() {
        #expect(throws: StepRefused.self) { try PackagesStep.checked(["curl", "curl=7.88.1"], step: step) }
        #expect(throws: StepRefused.self) { try PackagesStep.checked([], step: step) }
    }

    @Test(arguments: ["0 2 * * *", "*/15 * * * *", "0,30 8-18/2 1-15 jan,Jul mon-fri", "@daily", "59 23 31 12 7", "0  2\u{20}* * *"])
    func timesOfCron(text: String) { #expect(CronTimes.isValid(text)) }

    @Test(arguments: ["", "0 2 * *", "0 2 * * * *", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 8", "5-1 * * * *", "*/0 * * * *", "1/2 * * * *", "a * * * *", "0 2 * * *\nx", "@never", "0 2 mon * *", "-1 * * * *", ", * * * *"])
    func whatAreNoTimesOfCron(text: String) { #expect(!CronTimes.isValid(text)) }

    @Test func aPercentSignStaysOneInCron() {
        #expect(ScheduleStep.escaped("date +%F-%H") == #"date +\%F-\%H"#)
    }

    @Test(arguments: ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/0"])
    func networks(text: String) { #expect(FirewallStep.isNetwork(text)) }

    @Test(arguments: ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/8/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "host", "10.0.0.1; flush ruleset", "10.0.0.0/8 accept"])
    func whatIsNoNetwork(text: String) { #expect(!FirewallStep.isNetwork(text)) }

    @Test func theRulesReplaceTheirOwnTableAlone() {
        let text = FirewallStep.ruleset([.init(port: 22, transport: "tcp", from: nil), .init(port: 53, transport: "udp", from: "2001:db8::/32")])
        #expect(text.contains("delete table inet reprise\ntable inet reprise {") && !text.contains("flush ruleset"))
        #expect(text.contains("policy drop;"))
        #expect(text.contains("        tcp dport 22 accept\n        ip6 saddr 2001:db8::/32 udp dport 53 accept\n    }\n}\n"))
    }

    @Test func aRuleIsForTheHostsThatItNames() throws {
        let allow: [JSONValue] = [["port": 22], ["port": 443, "on": "app"], ["port": 5432, "on": "db", "from": "10.0.0.0/24"], ["port": 53, "on": "new1", "protocol": "udp"]]
        func ports(_ host: String, _ groups: [HostGroup]) throws -> [Int64] {
            let inventory = Inventory(hosts: [Host(name: "new1"), Host(name: "new2")], groups: groups)
            return try FirewallStep.rules(allow, on: host, inventory, step: step).map(\.port)
        }
        let two = [HostGroup(name: "app", hosts: ["new1"]), HostGroup(name: "db", hosts: ["new2"])]
        #expect(try ports("new1", two) == [22, 443, 53])
        #expect(try ports("new2", two) == [22, 5432])
        #expect(try ports("new1", [HostGroup(name: "app", hosts: ["new1"]), HostGroup(name: "db", hosts: ["new1"])]) == [22, 443, 5432, 53])
    }

    @Test func valuesTakeTheirPlacesInATemplateAndAreReadNoFurther() throws {
        let filled = try TemplateStep.filled("a@b.c @{one} @@{one} @{two}@", ["one": "@{two} {{ x }} $(id)", "two": "2"], step: step)
        #expect(filled == "a@b.c @{two} {{ x }} $(id) @{one} 2@")
    }

    @Test func aPlaceWithoutAValueAndAValueWithoutAPlaceAreRefused() {
        #expect(throws: StepRefused.self) { try TemplateStep.filled("@{onr}", ["one": "1"], step: step) }
        #expect(throws: StepRefused.self) { try TemplateStep.filled("text", ["one": "1"], step: step) }
        #expect(throws: Never.self) { try TemplateStep.filled("@{ unclosed", [:], step: step) }
    }
}
