import PlanModel
import PlanYAML
import Testing

@Suite struct InventoryTests {
    private func read(_ text: String) -> (inventory: Inventory?, findings: [String]) {
        let (inventory, diagnostics) = readInventory(source(text, "i.yaml"))
        return (inventory, found(diagnostics))
    }

    @Test func nearerVariablesOverrideFartherOnes() throws {
        let (inventory, findings) = read(
            """
            all:
              vars: {a: all, b: all, c: all, d: all}
              children:
                outer:
                  vars: {b: outer, c: outer, d: outer}
                  children:
                    inner:
                      vars: {c: inner, d: inner}
                      hosts:
                        h1: {d: host}
                        h2:
            """)
        #expect(findings == [])
        let h1 = try #require(inventory?.host("h1"))
        let h2 = try #require(inventory?.host("h2"))
        #expect(["a", "b", "c", "d"].map { h1.variable($0)?.string } == ["all", "outer", "inner", "host"])
        #expect(h2.variable("d") == "inner")
        #expect(h1.groups == ["all", "outer", "inner"])
        #expect(inventory?.hosts(on: "outer")?.map(\.name) == ["h1", "h2"])
        #expect(inventory?.group("outer")?.children == ["inner"])
    }

    @Test func groupsOfTheSameDepthOverrideByPriorityAndThenByName() throws {
        let text = """
            alpha: {hosts: {h: }, vars: {x: alpha, ansible_group_priority: PRIORITY}}
            beta: {hosts: {h: }, vars: {x: beta}}
            """
        #expect(read(text.replacing("PRIORITY", with: "1")).inventory?.host("h")?.variable("x") == "beta")
        #expect(read(text.replacing("PRIORITY", with: "2")).inventory?.host("h")?.variable("x") == "alpha")
    }

    @Test func connectionVariablesBecomeAnEndpoint() throws {
        let (inventory, findings) = read(
            """
            all:
              hosts:
                h:
                  ansible_host: 192.0.2.7
                  ansible_port: "2222"
                  ansible_user: deploy
                  ansible_become: yes
                  ansible_ssh_private_key_file: ~/.ssh/id ed
                  ansible_ssh_common_args: -o ProxyJump=ops@bastion:2200,10.0.0.1 -o "UserKnownHostsFile=/etc/kh" -o ControlMaster=auto
                  http_port: 80
                  nested: {deep: [1, two, null]}
            """)
        #expect(findings == [])
        let host = try #require(inventory?.host("h"))
        let endpoint = try #require(inventory).endpoint(of: host)
        #expect(endpoint.address == "192.0.2.7" && endpoint.port == 2222 && endpoint.user == "deploy" && host.become)
        #expect(endpoint.identityFiles == ["~/.ssh/id ed"] && endpoint.knownHosts == ["/etc/kh"])
        #expect(endpoint.jump == [JumpHost(user: "ops", host: "bastion", port: 2200), JumpHost(host: "10.0.0.1")])
        #expect(host.variable("http_port") == .integer(80))
        #expect(host.variable("nested")?["deep"]?.value == .array([.integer(1), "two", .null]))
    }

    @Test(arguments: [
        ("ansible_password: hunter2", "`ansible_password`: Reprise uses no passwords for SSH"),
        ("ansible_become_pass: hunter2", "`ansible_become_pass`: Reprise uses no passwords for sudo"),
        ("ansible_connection: winrm", "`ansible_connection`: Reprise reaches hosts over SSH only, found text `winrm`"),
        ("ansible_host: '{{ lookup(1) }}'", "`ansible_host` holds a template"),
        ("ansible_user: !vault x", "`ansible_user` holds a !vault value"),
        ("ansible_become_user: postgres", "`ansible_become_user`: Reprise becomes root only"),
        ("ansible_become_method: su", "`ansible_become_method`: only sudo is supported"),
        ("ansible_shell_type: powershell", "`ansible_shell_type`: only POSIX shells are supported"),
        (
            "ansible_ssh_common_args: -o ProxyCommand='ssh -W %h:%p b'",
            "`ansible_ssh_common_args`: `ProxyCommand` is not supported"
        ),
        ("ansible_port: 99999", "`ansible_port`: expected a port number, found the whole number 99999"),
        (
            "ansible_host: -oProxyCommand=x",
            "`ansible_host`: expected a host name or address, found text `-oProxyCommand=x`"
        ),
        ("ansible_user: $(id)", "`ansible_user`: expected a login name, found text `$(id)`"),
    ])
    func aSettingThatCannotBeHonouredMakesOnlyItsOwnHostUnusable(setting: String, reason: String) throws {
        let (inventory, diagnostics) = readInventory(
            source("all:\n  hosts:\n    bad:\n      \(setting)\n    good:\n", "i.yaml"))
        #expect(diagnostics.map(\.message) == [reason])
        #expect(diagnostics[0].severity == .warning && diagnostics[0].mark.line == 4)
        #expect(!diagnostics.contains { $0.description.contains("hunter2") })
        func findings(on host: String) -> [String] {
            problems(inPlan: "steps:\n  - {id: a, kind: command, on: \(host), with: {run: x}}\n", inventory: inventory)
        }
        #expect(findings(on: "good") == [])
        #expect(
            findings(on: "bad") == [
                "5:32: error: step `a`, `on`: host `bad` cannot be used: \(reason) [plan.unusable-host]"
            ])
        #expect(findings(on: "all").count == 1)
    }

    @Test(arguments: [
        (
            "ansible_ssh_common_args: -o StrictHostKeyChecking=no",
            "`ansible_ssh_common_args`: host keys are always checked, so `StrictHostKeyChecking=no` is not honoured"
        ),
        ("ansible_host_key_checking: false", "`ansible_host_key_checking`: host keys are always checked"),
        ("ansible_ssh_common_args: -o ForwardAgent=yes", "`ansible_ssh_common_args`: the agent is never forwarded"),
        ("ansible_ssh_common_args: -F /dev/null", "`ansible_ssh_common_args`: `-F` is not honoured"),
        ("greeting: 'hello {{ name }}'", "host `h`: `greeting` holds a template, which Reprise does not read"),
        ("token: !vault x", "host `h`: `token` holds a !vault value, which Reprise does not read"),
    ])
    func whatIsLeftOutIsNamed(setting: String, warning: String) {
        let (inventory, diagnostics) = readInventory(source("all:\n  hosts:\n    h:\n      \(setting)\n", "i.yaml"))
        #expect(diagnostics.map(\.message) == [warning])
        #expect(inventory?.hosts[0].obstacles == [])
    }

    @Test(arguments: [
        (
            "all:\n  hosts: [a]\n",
            "2:10: error: group `all`, `hosts`: expected a map from names to variables, found a list [plan.wrong-type]"
        ),
        ("all:\n  host: {a: }\n", "2:3: error: group `all`: unknown key `host` [plan.unknown-key]"),
        (
            "a: {children: {b: {children: {a: }}}}\n",
            "1:1: error: groups contain each other: a → b → a [inventory.group-cycle]"
        ),
        ("a: {children: {a: }}\n", "1:1: error: group `a` is its own child [inventory.group-cycle]"),
        ("all: {hosts: {'../etc': }}\n", "1:15: error: `../etc` cannot be the name of a host [inventory.bad-name]"),
        ("all: {hosts: {'-h': }}\n", "1:15: error: `-h` cannot be the name of a host [inventory.bad-name]"),
        ("all: {hosts: {\"a\\nb\": }}\n", "1:15: error: `a\\nb` cannot be the name of a host [inventory.bad-name]"),
        ("all: {hosts: {'$(id)': }}\n", "1:15: error: `$(id)` cannot be the name of a host [inventory.bad-name]"),
        ("all: {hosts: {\"a'b\": }}\n", "1:15: error: `a'b` cannot be the name of a host [inventory.bad-name]"),
        ("all: {hosts: {'a b': }}\n", "1:15: error: `a b` cannot be the name of a host [inventory.bad-name]"),
        (
            "all: {hosts: {orchestrator: }}\n",
            "1:15: error: `orchestrator` cannot be the name of a host [inventory.bad-name]"
        ),
        (
            "all: {hosts: {'w[3:1]': }}\n",
            "1:15: error: `w[3:1]`: the range ends before it begins [inventory.bad-range]"
        ),
        ("reprise: {databses: {}}\n", "1:11: error: `reprise`: unknown key `databses` [plan.unknown-key]"),
        (
            "all: {hosts: {db1: }}\nreprise: {databases: {p: {host: db2, database: x}}}\n",
            "2:23: error: database `p`: there is no host `db2` [inventory.unknown-host]"
        ),
        (
            "reprise: {stores: {b: {kind: S3}}}\n",
            "1:30: error: store `b`: text `S3` is no kind of store [plan.unknown-choice]"
        ),
        (
            "reprise: {stores: {b: {kind: s3, bucket: A_b}}}\n",
            "1:42: error: store `b`: `A_b` cannot be the name of a bucket [inventory.bad-name]"
        ),
        (
            "reprise: {stores: {b: {kind: s3, bucket: abc, endpoint: 's3://x'}}}\n",
            "1:57: error: store `b`: `endpoint` is no http or https address [inventory.bad-endpoint]"
        ),
        (
            "reprise: {stores: {b: {kind: directory, path: /a/../b}}}\n",
            "1:47: error: store `b`, `path`: `/a/../b` is no absolute path [plan.bad-path]"
        ),
        (
            "reprise: {secrets: {pw: hunter2}}\n",
            "1:25: error: secret `pw`: this is no reference to a secret [inventory.bad-secret]"
        ),
        ("reprise: {known-hosts: [kh]}\n", "1:25: error: `known-hosts`: `kh` is no absolute path [plan.bad-path]"),
        (
            "reprise: 1\nname: x\nsteps: []\n",
            "1:1: error: this is a plan, not an inventory [inventory.not-an-inventory]"
        ),
    ])
    func aBadInventoryIsRefusedAtItsPlace(text: String, expected: String) {
        let (inventory, diagnostics) = readInventory(source(text, "i.yaml"))
        #expect(inventory == nil)
        #expect(found(diagnostics) == [expected])
        #expect(!diagnostics.contains { $0.description.contains("hunter2") })
    }

    @Test func anInventoryAndAPlanAreNotMistakenForEachOther() {
        #expect(
            found(readPlan(source("all: {}\n"), kinds: registry, inventory: nil).diagnostics) == [
                "1:1: error: this is an inventory, not a plan [plan.not-a-plan]"
            ])
    }

    @Test func databaseNamesAreTakenLiterally() {
        let name = "Odd \"Näme\"; DROP"
        let (inventory, findings) = read(
            "all: {hosts: {h: }}\nreprise: {databases: {p: {host: h, database: '\(name)', application-role: select}}}\n"
        )
        #expect(findings == [])
        #expect(inventory?.database("p")?.database == name)
        #expect(inventory?.database("p")?.applicationRole == "select")
    }

    @Test(arguments: [
        "all: {hosts: {h: {ansible_password: hunter2, ansible_password: hunter2}}}\n",
        "all:\n  vars:\n    db_password: hunter2 {{ x }}\n",
        "all:\n  vars: {api_token: hunter2\n",
        "reprise: {databases: {p: {host: h, database: x, password: hunter2}}}\n",
        "reprise:\n  stores:\n    b: {kind: s3, bucket: abc, endpoint: 'https://me:hunter2@x'}\n",
    ])
    func noFindingShowsASecret(text: String) {
        let (_, diagnostics) = readInventory(source(text, "i.yaml"))
        #expect(!diagnostics.isEmpty)
        #expect(!diagnostics.contains { $0.description.contains("hunter2") })
    }
}
