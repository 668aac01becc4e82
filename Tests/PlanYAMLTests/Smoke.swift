import PlanModel
import PlanYAML
import Testing
@Test func smoke() throws {
  for f in ["lab", "production.example"] {
  do { let inv = try loadInventory(at: "inventory/\(f).yaml"); print(inv.warnings)
  let p = try loadPlan(at: "plans/db-corruption.yaml", kinds: registry, inventory: inv.inventory); print(p.warnings, p.plan.steps.map { "\($0.id) <- \($0.needs)" }) } catch { print(error) }
  }
}
