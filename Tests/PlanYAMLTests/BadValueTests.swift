import Testing

/// What stands after `reprise: 1`, `name: test` and an empty line, and every finding about it.
private let values: [(name: String, text: String, findings: [String])] = [
    (
        "duration2",
        """
        steps:
          - {id: a, kind: approval, timeout: 5 minutes}
        """,
        [
            #"5:38: error: step `a`, `timeout`: expected a duration such as 30s, 5m or 1h30m, found text `5 minutes` [plan.wrong-type]"#
        ]
    ),
    (
        "choice",
        """
        steps:
          - {id: a, kind: fetch-backup, on: db1, with: {store: backups, via: hosts}}
        """,
        [
            #"5:70: error: step `a`, `with`, `via`: `hosts` is none of its choices [plan.unknown-choice]"#
        ]
    ),
    (
        "retry",
        """
        steps:
          - {id: a, kind: approval, retry: 0}
        """,
        [
            #"5:36: error: step `a`, `retry`: 0 is not between 1 and 100 [plan.out-of-range]"#
        ]
    ),
    (
        "retry2",
        """
        steps:
          - {id: a, kind: approval, retry: {initial: 5s}}
        """,
        [
            #"5:36: error: step `a`, `retry`: `attempts` is missing [plan.missing-field]"#
        ]
    ),
    (
        "on-error",
        """
        steps:
          - {id: a, kind: approval, on-error: ignore}
        """,
        [
            #"5:39: error: step `a`, `on-error`: `ignore` is none of its choices [plan.unknown-choice]"#
        ]
    ),
    (
        "only",
        """
        steps:
          - {id: a, kind: approval, only: drills}
        """,
        [
            #"5:35: error: step `a`, `only`: `drills` is none of its choices [plan.unknown-choice]"#
        ]
    ),
    (
        "template script",
        """
        steps:
          - id: a
            kind: command
            on: db1
            with:
              run: |
                set -e
                echo {{ params.name }}
        """,
        [
            #"9:12: error: step `a`, `with`, `run`: `{{` in line 2 of a script [plan.template-in-script]"#
        ]
    ),
    (
        "template unquoted",
        """
        steps:
          - id: a
            kind: approval
            with:
              message: {{ params.name }}
        """,
        [
            #"8:16: error: a map cannot be a key [yaml.bad-key]"#
        ]
    ),
    (
        "template unclosed",
        """
        steps:
          - {id: a, kind: approval, with: {message: 'x {{ params.name'}}
        """,
        [
            #"5:45: error: step `a`, `with`, `message`: `{{` is not closed by `}}` [plan.bad-template]"#
        ]
    ),
    (
        "template filter",
        """
        steps:
          - {id: a, kind: approval, with: {message: '{{ params.name | upper }}'}}
        """,
        [
            #"5:45: error: step `a`, `with`, `message`: `{{ params.name | upper }}` is no reference [plan.bad-template]"#
        ]
    ),
    (
        "unknown param",
        """
        parameters: {name: {default: x}}
        steps:
          - {id: a, kind: approval, with: {message: '{{ params.nmae }}'}}
        """,
        [
            #"6:45: error: step `a`, `with`, `message`: there is no parameter `nmae` [plan.unknown-parameter]"#
        ]
    ),
    (
        "param type",
        """
        parameters: {name: {default: x}}
        steps:
          - {id: a, kind: approval, with: {required: '{{ params.name }}'}}
        """,
        [
            #"6:46: error: step `a`, `with`, `required`: expected true or false, found the parameter `name` of type string [plan.wrong-type]"#
        ]
    ),
    (
        "maybe absent",
        """
        parameters: {name: }
        steps:
          - {id: a, kind: approval, with: {message: 'x {{ params.name }}'}}
        """,
        [
            #"6:45: error: step `a`, `with`, `message`: the parameter `name` may be absent [plan.maybe-absent]"#
        ]
    ),
    (
        "secret in text",
        """
        parameters: {pw: {secret: true, required: true}}
        steps:
          - {id: a, kind: approval, with: {message: 'x {{ params.pw }}'}}
        """,
        [
            #"6:45: error: step `a`, `with`, `message`: the secret parameter `pw` cannot be used here [plan.secret-in-text]"#
        ]
    ),
    (
        "secret default",
        """
        parameters: {pw: {secret: true, default: hunter2}}
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:42: error: parameter `pw`, `default`: is secret: it takes env:NAME, file:/path or command:…, never the secret itself [plan.bad-secret]"#
        ]
    ),
    (
        "param clash",
        """
        parameters: {a-b: , a_b: }
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:21: error: parameters `a-b` and `a_b` would be the same environment variable PARAM_A_B [plan.parameter-clash]"#
        ]
    ),
    (
        "param name",
        """
        parameters: {A: }
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:14: error: `A` is no parameter name [plan.bad-name]"#
        ]
    ),
    (
        "param choice",
        """
        parameters: {a: {type: choice}}
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:14: error: parameter `a`: `choices` is missing [plan.missing-field]"#
        ]
    ),
    (
        "param type unknown",
        """
        parameters: {a: {type: int}}
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:24: error: parameter `a`, `type`: `int` is none of its choices [plan.unknown-choice]"#
        ]
    ),
    (
        "param default type",
        """
        parameters: {a: {type: integer, default: "5"}}
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:42: error: parameter `a`, `default`: expected a whole number, found text `5` [plan.wrong-type]"#
        ]
    ),
    (
        "param default",
        """
        parameters: {a: {type: choice, choices: [x, y], default: z}}
        steps:
          - {id: a, kind: command, on: db1, with: {run: x}}
        """,
        [
            #"4:58: error: parameter `a`, `default`: expects one of x, y [plan.bad-default]"#
        ]
    ),
]

@Suite struct BadValueTests {
    @Test(arguments: values.indices)
    func aBadValueIsReportedAtItsPlaceWithItsReason(index: Int) {
        let example = values[index]
        #expect(problems(inPlan: example.text + "\n") == example.findings, "\(example.name)")
    }
}
