import PlanModel
import PlanYAML
import Testing
import Foundation
@Test func smoke() throws {
  let inv = try loadInventory(at: "inventory/lab.yaml")
  let p = try loadPlan(at: "plans/db-corruption.yaml", kinds: registry, inventory: inv.inventory)
  print(GraphDrawing(p.plan).text()); print(GraphDrawing(p.plan).text(isASCII: true)); print(GraphDrawing(p.plan).dot()); print(GraphDrawing(p.plan).mermaid())
  print(writeYAML(p.plan.document))
  let (again, d) = readPlan(SourceText(Array(writeYAML(p.plan.document).utf8), file: "w"), kinds: registry, inventory: inv.inventory)
  print(d, again == p.plan)
  let e = JSONEncoder(); let data = try e.encode(p.plan); print(data.count)
  let back = try JSONDecoder().decode(Plan.self, from: data); print(back == p.plan, back.canonicalJSON == p.plan.canonicalJSON)
  try Data(planJSONSchema(kinds: registry).json(indent: 2).utf8).write(to: URL(fileURLWithPath: "/tmp/plan.schema.json"))
}
