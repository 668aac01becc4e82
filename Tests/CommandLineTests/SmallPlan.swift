extension Program {
    /// A plan that asks while another step runs, until `go` is there: a process holds the run while it waits for a person.
    static func withAskingPlan() throws -> Program {
        let program = try Program()
        try program.write("all:\n  hosts: {}\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: asking
            steps:
              - id: slow
                kind: command
                on: [orchestrator]
                with:
                  directory: \(program.folder)
                  run: until [ -e go ]; do [ -e plans ] || exit 1; sleep 0.05; done
              - id: ask
                kind: approval
                needs: []
                with:
                  message: shall we go on?
              - id: last
                kind: command
                on: [orchestrator]
                needs: [ask]
                with:
                  directory: \(program.folder)
                  run: echo last >> effects.log

            """, to: "plans/asking.yaml")
        return program
    }

    /// A plan of commands on this machine that write to `effects.log`, one that takes until `go` is there, and an approval.
    static func withSmallPlan() throws -> Program {
        let program = try Program()
        try program.write("all:\n  hosts: {}\n", to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: small
            title: A small plan on this machine
            parameters:
              text:
                default: hello
            steps:
              - id: first
                kind: command
                on: [orchestrator]
                with:
                  directory: \(program.folder)
                  run: |
                    printf 'said %s\\n' "$PARAM_TEXT"
                    echo first >> effects.log
              - id: slow
                kind: command
                on: [orchestrator]
                with:
                  directory: \(program.folder)
                  run: |
                    echo begun
                    echo begun > begun
                    until [ -e go ]; do [ -e begun ] || exit 1; sleep 0.05; done
                    echo ended
                    echo slow >> effects.log
              - id: ask
                kind: approval
                with:
                  message: shall we go on?
              - id: last
                kind: command
                on: [orchestrator]
                with:
                  directory: \(program.folder)
                  run: echo last >> effects.log

            """, to: "plans/small.yaml")
        return program
    }
}
