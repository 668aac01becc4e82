import Foundation
import PlanModel
import PlanYAML

/// The top of the checkout.
let checkout = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

let labInventory: Inventory = {
    let source = SourceText(
        Array(FileManager.default.contents(atPath: checkout + "/inventory/lab.yaml") ?? Data()), file: "lab.yaml")
    return readInventory(source).inventory ?? Inventory()
}()

func source(_ text: String, _ file: String = "p.yaml") -> SourceText { SourceText(Array(text.utf8), file: file) }

/// `line:column: severity: message [code]` of each finding, without excerpts and hints.
func found(_ diagnostics: [Diagnostic]) -> [String] {
    diagnostics.map { "\($0.mark.line):\($0.mark.column): \($0.severity.rawValue): \($0.message) [\($0.code)]" }
}

/// What is wrong with a plan that begins with three good lines (`reprise`, `name`, an empty line).
func problems(inPlan body: String, inventory: Inventory? = labInventory) -> [String] {
    found(readPlan(source("reprise: 1\nname: test\n\n" + body), kinds: registry, inventory: inventory).diagnostics)
}
