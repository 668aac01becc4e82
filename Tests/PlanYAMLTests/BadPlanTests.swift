import Testing

/// What stands after `reprise: 1`, `name: test` and an empty line, and every finding about it.
private let plans: [(name: String, text: String, findings: [String])] = [
    (
        "in-doubt",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x, in-doubt: verify}}
        """,
        [
            #"5:62: error: step `a`, `with`: `in-doubt: verify` needs a script under `verify` [plan.missing-field]"#
        ]
    ),
    (
        "undo",
        """
        steps:
          - {id: a, kind: approval, undo: {kind: command, run: x}}
        """,
        [
            #"5:51: error: step `a`, `undo`: `run` does not belong here [plan.misplaced-key]"#
        ]
    ),
    (
        "undo2",
        """
        steps:
          - {id: a, kind: approval, undo: nothing}
        """,
        [
            #"5:35: error: step `a`, `undo`: expected none, or a map with `kind` and `with`, found text `nothing` [plan.wrong-type]"#
        ]
    ),
    (
        "finally needs",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        finally:
          - {id: f, kind: approval, needs: [a]}
        """,
        [
            #"7:29: error: step `f`: steps under `finally` run in order and take no `needs` [plan.needs-finally]"#
        ]
    ),
    (
        "needs finally",
        """
        steps:
          - {id: a, kind: approval, needs: [f]}
        finally:
          - {id: f, kind: approval}
        """,
        [
            #"5:37: error: step `a`, `needs`: `f` stands under `finally` and runs last [plan.needs-finally]"#
        ]
    ),
    (
        "steps map",
        """
        steps:
          a: {kind: approval}
        """,
        [
            #"5:3: error: `steps`: expected a list of steps, found a map [plan.wrong-type]"#
        ]
    ),
    (
        "no steps",
        """
        steps: []
        """,
        [
            #"4:1: error: the plan has no steps [plan.no-steps]"#
        ]
    ),
    (
        "vault",
        """
        steps:
          - {id: a, kind: approval, with: {message: !vault x}}
        """,
        [
            #"5:45: error: step `a`, `with`, `message`: the tag !vault is not understood in plans [plan.unknown-tag]"#
        ]
    ),
    (
        "identifier long",
        """
        steps:
          - {id: a, kind: postgres-swap, with: {database: production, keep-as: éééééééééééééééééééééééééééééééé}}
        """,
        [
            #"5:72: error: step `a`, `with`, `keep-as`: the identifier `éééééééééééééééééééééééééééééééé` is longer than 63 bytes [plan.bad-name]"#
        ]
    ),
    (
        "nul",
        """
        steps:
          - {id: a, kind: postgres-swap, with: {database: production, keep-as: "a\\0b"}}
        """,
        [
            #"5:72: error: step `a`, `with`, `keep-as`: holds a NUL character [plan.control-character]"#
        ]
    ),
    (
        "path",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x, directory: /var/../etc}}
        """,
        [
            #"5:63: error: step `a`, `with`, `directory`: `/var/../etc` is no absolute path [plan.bad-path]"#
        ]
    ),
    (
        "account",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x, as: -root}}
        """,
        [
            #"5:56: error: step `a`, `with`, `as`: `-root` is no login name [plan.bad-name]"#
        ]
    ),
    (
        "int as text",
        """
        steps:
          - {id: a, kind: approval, with: {message: 15}}
        """,
        [
            #"5:45: error: step `a`, `with`, `message`: expected text, found the whole number 15 [plan.wrong-type]"#
        ]
    ),
    (
        "null text",
        """
        steps:
          - {id: a, kind: approval, with: {message: }}
        """,
        [
            #"5:45: error: step `a`, `with`, `message`: expected text, found nothing [plan.wrong-type]"#
        ]
    ),
    (
        "allow",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        allow: [same-clusters]
        """,
        [
            #"6:9: error: `allow`: there is no guard `same-clusters` [plan.unknown-choice]"#
        ]
    ),
    (
        "limits",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        limits: {per-host: 0}
        """,
        [
            #"6:20: error: `limits`, `per-host`: 0 is not between 1 and 1000 [plan.out-of-range]"#
        ]
    ),
    (
        "template in on",
        """
        steps:
          - {id: a, kind: command, on: '{{ host.name }}', with: {run: x}}
        """,
        [
            #"5:32: error: step `a`, `on`: only parameters can be used here [plan.bad-template]"#
        ]
    ),
    (
        "secret unknown",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x, environment: {PW: {secret: db-pasword}}}}
        """,
        [
            #"5:79: error: step `a`, `with`, `environment`, `PW`, `secret`: the inventory has no secret `db-pasword` [plan.unknown-secret]"#
        ]
    ),
    (
        "tabs",
        """
        steps:
        	- id: a
        """,
        [
            #"5:1: error: this is not YAML: found character that cannot start any token, while scanning for the next token that begins in line 5 [yaml.syntax]"#
        ]
    ),
    (
        "colon",
        """
        title: a: b
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:9: error: this is not YAML: mapping values are not allowed in this context [yaml.syntax]"#
        ]
    ),
    (
        "unclosed",
        """
        title: "abc
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"7:1: error: this is not YAML: found unexpected end of stream, while scanning a quoted scalar that begins in line 4 [yaml.syntax]"#
        ]
    ),
    (
        "dup key",
        """
        title: a
        title: b
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"5:1: error: the key `title` stands here twice [yaml.duplicate-key]"#
        ]
    ),
    (
        "int key",
        """
        1: a
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:1: error: the key `1` is a whole number, not text [yaml.bad-key]"#
        ]
    ),
    (
        "list key",
        """
        ? [a]
        : b
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:3: error: a list cannot be a key [yaml.bad-key]"#
        ]
    ),
    (
        "two docs",
        """
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        ---
        a: b
        """,
        [
            #"6:1: error: a second document begins here [yaml.many-documents]"#
        ]
    ),
    (
        "alias",
        """
        title: *x
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:8: error: the alias `*x` refers to nothing before it [yaml.unknown-alias]"#
        ]
    ),
    (
        "at",
        """
        title: @x
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:8: error: this is not YAML: found character that cannot start any token, while scanning for the next token that begins in line 4 [yaml.syntax]"#
        ]
    ),
    (
        "unknown variable",
        """
        parameters: {name: {default: x}}
        steps:
          - {id: a, kind: command, on: db1, with: {run: 'echo $PARAM_NMAE $PARAM_NAME $MY_PARAM_X'}}
        """,
        [
            #"6:49: warning: step `a`, `with`, `run`: no parameter gives `PARAM_NMAE` [plan.unknown-variable]"#
        ]
    ),
    (
        "embedded",
        """
        steps:
          - {id: a, kind: approval, with: {required: 'x{{ params.a }}'}}
        """,
        [
            #"5:46: error: step `a`, `with`, `required`: there is no parameter `a` [plan.unknown-parameter]"#,
            #"5:46: error: step `a`, `with`, `required`: expected true or false, found text with a reference inside [plan.wrong-type]"#,
        ]
    ),
]

@Suite struct BadPlanTests {
    @Test(arguments: plans.indices)
    func aBadPlanIsReportedAtItsPlaceWithItsReason(index: Int) {
        let example = plans[index]
        #expect(problems(inPlan: example.text + "\n") == example.findings, "\(example.name)")
    }
}
