import Testing

/// What stands after `reprise: 1`, `name: test` and an empty line, and every finding about it.
private let steps: [(name: String, text: String, findings: [String])] = [
    (
        "unknown top key",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        stesp: []
        """,
        [
            #"6:1: error: the plan: unknown key `stesp` [plan.unknown-key]"#
        ]
    ),
    (
        "a phase of two lines",
        """
        steps:
          - id: a
            kind: command
            on: db1
            phase: "a\\nb"
            with: {run: x}
        """,
        [
            #"8:12: error: step `a`: `phase` is no word of at most 40 bytes [plan.bad-value]"#
        ]
    ),
    (
        "variables of hosts that differ, or are not there",
        """
        steps:
          - id: a
            kind: command
            on: [app1, db1]
            with:
              run: x
              environment:
                A: "{{ host.database_address }}"
                B: "{{ host.name }}"
                C: "{{ host.colour }}"
        """,
        [
            #"12:12: error: step `a`, `with`, `environment`, `B`: `host.name` is not the same on `app1` and `db1`, on which the step runs [plan.different-hosts]"#,
            #"13:12: error: step `a`, `with`, `environment`, `C`: host `app1` has no variable `colour` [plan.no-variable]"#,
        ]
    ),
    (
        "unless without a place",
        """
        steps:
          - id: a
            kind: approval
            unless: test -e /x
            with: {message: go?}
        """,
        [
            #"7:5: error: step `a`, `unless`: nothing says where the script runs [plan.missing-field]"#
        ]
    ),
    (
        "unless with half a query",
        """
        steps:
          - id: a
            kind: command
            on: db1
            unless: {sql: SELECT true, databse: production}
            with: {run: x}
        """,
        [
            #"8:13: error: step `a`, `unless`: `database` is missing [plan.missing-field]"#,
            #"8:32: error: step `a`, `unless`: unknown key `databse` [plan.unknown-key]"#,
        ]
    ),
    (
        "unless with a template in its script",
        """
        steps:
          - id: a
            kind: command
            on: db1
            unless: "test -e {{ params.x }}"
            with: {run: x}
        """,
        [
            #"8:13: error: step `a`, `unless`: `{{` in a script [plan.template-in-script]"#
        ]
    ),
    (
        "unknown kind",
        """
        steps:
          - id: a
            kind: comand
        """,
        [
            #"6:11: error: step `a`: there is no kind `comand` [plan.unknown-kind]"#
        ]
    ),
    (
        "unknown step key",
        """
        steps:
          - id: a
            kind: command
            on: db1
            timout: 5m
            with: {run: x}
        """,
        [
            #"8:5: error: step `a`: unknown key `timout` [plan.unknown-key]"#
        ]
    ),
    (
        "unknown field",
        """
        steps:
          - id: a
            kind: command
            on: db1
            with: {run: x, enviroment: {}}
        """,
        [
            #"8:20: error: step `a`, `with`: unknown key `enviroment` [plan.unknown-key]"#
        ]
    ),
    (
        "field at step level",
        """
        steps:
          - id: a
            kind: command
            on: db1
            run: x
        """,
        [
            #"8:5: error: step `a`: `run` does not belong here [plan.misplaced-key]"#
        ]
    ),
    (
        "step key in with",
        """
        steps:
          - id: a
            kind: command
            on: db1
            with:
              run: x
              timeout: 5m
        """,
        [
            #"10:7: error: step `a`, `with`: `timeout` does not belong here [plan.misplaced-key]"#
        ]
    ),
    (
        "field of another kind",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x, script: y}}
        """,
        [
            #"5:52: error: step `a`, `with`: `script` does not belong here [plan.misplaced-key]"#
        ]
    ),
    (
        "unknown host",
        """
        steps:
          - {id: a, kind: command, on: bd1, with: {run: x}}
        """,
        [
            #"5:32: error: step `a`, `on`: the inventory has no host or group `bd1` [plan.unknown-host]"#
        ]
    ),
    (
        "unknown store",
        """
        steps:
          - {id: a, kind: fetch-backup, on: db1, with: {store: backup}}
        """,
        [
            #"5:56: error: step `a`, `with`, `store`: the inventory has no store `backup` [plan.unknown-store]"#
        ]
    ),
    (
        "unknown database",
        """
        steps:
          - {id: a, kind: sql-check, with: {database: prodution, checks: []}}
        """,
        [
            #"5:47: error: step `a`, `with`, `database`: the inventory has no database `prodution` [plan.unknown-database]"#
        ]
    ),
    (
        "missing on",
        """
        steps:
          - {id: a, kind: command, with: {run: x}}
        """,
        [
            #"5:5: error: step `a`: `on` is missing [plan.missing-field]"#
        ]
    ),
    (
        "a kind for one host on several",
        """
        steps:
          - {id: a, kind: fetch-backup, on: [app1, db1], with: {store: backups}}
          - {id: b, kind: fetch-backup, on: [db1, db1], with: {store: backups}}
        """,
        [
            #"5:37: error: step `a`: fetch-backup works on one host, and `on` names several: app1, db1 [plan.several-hosts]"#
        ]
    ),
    (
        "missing id",
        """
        steps:
          - {kind: command, on: db1, with: {run: x}}
        """,
        [
            #"5:6: error: step 1: `id` is missing [plan.missing-field]"#
        ]
    ),
    (
        "missing kind",
        """
        steps:
          - {id: a}
        """,
        [
            #"5:5: error: step `a`: `kind` is missing [plan.missing-field]"#
        ]
    ),
    (
        "missing field",
        """
        steps:
          - {id: a, kind: command, on: db1}
        """,
        [
            #"5:5: error: step `a`, `with`: `run` is missing [plan.missing-field]"#
        ]
    ),
    (
        "dup id",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"6:10: error: the step id `a` is used twice [plan.duplicate-step]"#
        ]
    ),
    (
        "bad id",
        """
        steps:
          - {id: ../a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"5:10: error: `../a` is no step id [plan.bad-name]"#
        ]
    ),
    (
        "cycle",
        """
        steps:
          - {id: a, kind: approval, needs: [c]}
          - {id: b, kind: approval}
          - {id: c, kind: approval}
        """,
        [
            #"5:10: error: steps need each other: a → c → b → a [plan.cycle]"#
        ]
    ),
    (
        "self",
        """
        steps:
          - {id: a, kind: approval, needs: a}
        """,
        [
            #"5:10: error: step `a` needs itself [plan.cycle]"#
        ]
    ),
    (
        "unknown need",
        """
        steps:
          - {id: fetch, kind: approval}
          - {id: b, kind: approval, needs: [fecth]}
        """,
        [
            #"6:37: error: step `b`, `needs`: there is no step `fecth` [plan.unknown-step]"#
        ]
    ),
    (
        "not upstream",
        """
        steps:
          - {id: fetch, kind: fetch-backup, on: db1, with: {store: backups}}
          - {id: r, kind: postgres-restore, needs: [], with: {database: production, backup: fetch}}
        """,
        [
            #"6:85: error: step `r`, `with`, `backup`: step `fetch` is not certain to have run before [plan.not-upstream]"#
        ]
    ),
    (
        "unknown step ref",
        """
        steps:
          - {id: r, kind: postgres-restore, needs: [], with: {database: production, backup: fetch}}
        """,
        [
            #"5:85: error: step `r`, `with`, `backup`: there is no step `fetch` [plan.unknown-step]"#
        ]
    ),
    (
        "other mode",
        """
        steps:
          - {id: fetch, kind: fetch-backup, on: db1, only: recovery, with: {store: backups}}
          - {id: r, kind: postgres-restore, with: {database: production, backup: fetch}}
        """,
        [
            #"6:74: error: step `r`, `with`, `backup`: step `fetch` runs in mode recovery only, and this one in others too [plan.other-mode]"#
        ]
    ),
    (
        "boolean yes",
        """
        steps:
          - id: v
            kind: postgres-verify
            with:
              database: production
              content: yes
        """,
        [
            #"9:16: error: step `v`, `with`, `content`: expected true or false, found text `yes` [plan.wrong-type]"#
        ]
    ),
    (
        "int 0123",
        """
        steps:
          - id: v
            kind: http-check
            with: {url: 'http://a', status: 0200}
        """,
        [
            #"7:37: error: step `v`, `with`, `status`: expected a whole number, found text `0200` [plan.wrong-type]"#
        ]
    ),
    (
        "int 1_000",
        """
        steps:
          - id: v
            kind: postgres-swap
            with: {database: production, sequence-margin: 1_000}
        """,
        [
            #"7:51: error: step `v`, `with`, `sequence-margin`: expected a whole number, found text `1_000` [plan.wrong-type]"#
        ]
    ),
    (
        "int too big",
        """
        steps:
          - id: v
            kind: postgres-swap
            with: {database: production, sequence-margin: 99999999999999999999}
        """,
        [
            #"7:51: error: step `v`, `with`, `sequence-margin`: expected a whole number, found text `99999999999999999999` [plan.wrong-type]"#
        ]
    ),
    (
        "range",
        """
        steps:
          - id: v
            kind: http-check
            with: {url: 'http://a', status: 20}
        """,
        [
            #"7:37: error: step `v`, `with`, `status`: 20 is not between 100 and 599 [plan.out-of-range]"#
        ]
    ),
    (
        "duration",
        """
        steps:
          - {id: a, kind: approval, timeout: 300}
        """,
        [
            #"5:38: error: step `a`, `timeout`: expected a duration such as 30s, 5m or 1h30m, found the whole number 300 [plan.wrong-type]"#
        ]
    ),
]

@Suite struct BadStepTests {
    @Test(arguments: steps.indices)
    func aBadStepIsReportedAtItsPlaceWithItsReason(index: Int) {
        let example = steps[index]
        #expect(problems(inPlan: example.text + "\n") == example.findings, "\(example.name)")
    }
}
