import PlanModel
import PlanYAML
import Testing
@Test func smoke() {
  let t = """
  reprise: 1
  name: x
  paramters: {a: {type: identifier}}
  parameters: {a: {type: identifier, default: abc}}
  steps:
    - id: one
      kind: comand
      with: {run: "echo {{ params.a }}"}
    - id: two
      kind: command
      on: db1
      retyr: 3
      with:
        run: |
          echo {{ params.a }}
        as: {{ params.a }}
    - id: one
      kind: command
      on: [db1]
      needs: [two, three]
      with: {run: a, in-doubt: verify, as: {a: b}, as: 4}
  """
  let kinds = [StepKindSchema(name: "command", summary: "", fields: [FieldSchema("run", .text, isRequired: true), FieldSchema("as", .account), FieldSchema("in-doubt", .choice(["ask","verify"])),FieldSchema("verify", .text)], needsHost: true)]
  let s = SourceText(Array(t.utf8), file: "plans/x.yaml")
  let (p, d) = readPlan(s, kinds: kinds, inventory: nil)
  print(p as Any); for x in d { print(x) }
  let u = t.replacing("as: {{ params.a }}", with: "as: '{{ params.a }}'").replacing(", as: 4", with: "")
  let (p2, d2) = readPlan(SourceText(Array(u.utf8), file: "plans/x.yaml"), kinds: kinds, inventory: nil)
  print(p2 as Any); for x in d2 { print(x) }
}
