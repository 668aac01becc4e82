internal import Foundation
package import PlanModel
package import RunCore

/// A plan or inventory was refused; every reason is listed.
package struct DocumentRefused: RepriseError, Hashable {
    /// How many are written out in `description`.
    package static let mostShown = 50

    /// `plan plans/x.yaml`
    package let subject: String
    /// Errors and warnings in reading order.
    package let diagnostics: [Diagnostic]

    package init(subject: String, diagnostics: [Diagnostic]) {
        self.subject = subject
        self.diagnostics = diagnostics
    }

    /// That of the only error, else `plan.refused`.
    package var code: String {
        let errors = diagnostics.errors
        return errors.count == 1 ? errors[0].code : "plan.refused"
    }

    package var message: String {
        "\(subject) is refused: \(counted(diagnostics.errors.count, "error"))"
    }

    package var exitStatus: ExitStatus { .usage }

    /// Every finding with its place, excerpt and hints, then the message.
    package var description: String {
        var parts = diagnostics.prefix(Self.mostShown).map(\.description)
        if diagnostics.count > Self.mostShown { parts.append("… and \(diagnostics.count - Self.mostShown) more") }
        return (parts + [message]).joined(separator: "\n")
    }
}

/// A plan as it was read, with the findings that did not stop it.
package struct LoadedPlan: Sendable {
    package let plan: Plan
    package let warnings: [Diagnostic]
    package let source: SourceText
}

/// An inventory as it was read, with the findings that did not stop it.
package struct LoadedInventory: Sendable {
    package let inventory: Inventory
    package let warnings: [Diagnostic]
    package let source: SourceText
}

/// Reads and validates a plan's text; finds all problems in one pass.
package func readPlan(_ source: SourceText, kinds: [StepKindSchema], inventory: Inventory?) -> (
    plan: Plan?, diagnostics: [Diagnostic]
) {
    let composed = composeYAML(source)
    guard let root = composed.root else { return (nil, composed.diagnostics) }
    var files = PlanFiles(besides: source.file, kinds: kinds)
    let (plan, found) = validatePlan(document: files.filled(root), kinds: kinds, inventory: inventory)
    let isRefused = !composed.diagnostics.errors.isEmpty || !files.problems.isEmpty
    return (isRefused ? nil : plan, composed.merging(found + files.problems, of: source))
}

/// Reads an inventory's text; finds all problems in one pass.
package func readInventory(_ source: SourceText) -> (inventory: Inventory?, diagnostics: [Diagnostic]) {
    let composed = composeYAML(source)
    guard let root = composed.root else { return (nil, composed.diagnostics) }
    let (inventory, found) = validateInventory(document: root)
    return (composed.diagnostics.errors.isEmpty ? inventory : nil, composed.merging(found, of: source))
}

extension ComposedYAML {
    fileprivate func merging(_ found: [Diagnostic], of source: SourceText) -> [Diagnostic] {
        (diagnostics + source.explain(found.filter { !broken.contains($0.mark) })).inReadingOrder()
    }
}

/// - Parameters:
///   - path: of the file, as the operator wrote it; it is shown in messages as it is.
///   - inventory: nil: names of hosts, databases, stores and secrets are not checked.
/// - Throws: `DocumentRefused` with every problem, `FileUnreadable`.
package func loadPlan(at path: String, kinds: [StepKindSchema], inventory: Inventory?) throws -> LoadedPlan {
    let source = SourceText(try readFile(path, what: "plan"), file: path)
    let (plan, diagnostics) = readPlan(source, kinds: kinds, inventory: inventory)
    guard let plan else { throw DocumentRefused(subject: "plan \(printable(path))", diagnostics: diagnostics) }
    return LoadedPlan(plan: plan, warnings: diagnostics.warnings, source: source)
}

/// - Parameter path: of the file, as the operator wrote it; it is shown in messages as it is.
/// - Throws: `DocumentRefused` with every problem, `FileUnreadable`.
package func loadInventory(at path: String) throws -> LoadedInventory {
    let source = SourceText(try readFile(path, what: "inventory"), file: path)
    let (inventory, diagnostics) = readInventory(source)
    guard let inventory else {
        throw DocumentRefused(subject: "inventory \(printable(path))", diagnostics: diagnostics)
    }
    var warnings = diagnostics.warnings
    let folder = path.contains("/") ? String(path[..<path.lastIndex(of: "/")!]) + "/" : ""
    for name in ["group_vars", "host_vars"] where access(folder + name, F_OK) == 0 {
        warnings.append(
            Diagnostic(
                .warning, at: SourceMark(file: path, line: 1, column: 1), code: "inventory.vars-folder",
                "the folder \(name) beside the inventory is not read",
                hints: ["write the variables that matter to Reprise into the inventory"]))
    }
    return LoadedInventory(inventory: inventory, warnings: warnings, source: source)
}

/// Fields that stand in a file of their own, with their defaults.
///
/// - Parameters:
///   - path: of the file, as the operator wrote it; it is shown in messages as it is.
///   - what: the fields together, as messages call them.
/// - Throws: `DocumentRefused` with every problem, `FileUnreadable`.
package func loadFields(at path: String, what: String, fields: [FieldSchema]) throws -> PlanValue {
    let source = SourceText(try readFile(path, what: "file of \(what)"), file: path)
    let composed = composeYAML(source)
    guard let root = composed.root else { throw DocumentRefused(subject: "\(what) \(printable(path))", diagnostics: composed.diagnostics) }
    let (value, found) = validateFields(document: root, what: what, fields: fields)
    guard let value, composed.diagnostics.errors.isEmpty else {
        throw DocumentRefused(subject: "\(what) \(printable(path))", diagnostics: composed.merging(found, of: source))
    }
    return value
}

/// A file that cannot be read at all.
package struct FileUnreadable: RepriseError, Hashable {
    package let code = "file.unreadable"
    package let message: String
    package let hints: [String]
    package var exitStatus: ExitStatus { .usage }
}

/// The bytes of a file, one more than `SourceText.mostBytes` at most.
func readFile(_ path: String, what: String) throws(FileUnreadable) -> [UInt8] {
    func refuse(_ reason: String, _ hints: [String] = []) -> FileUnreadable {
        FileUnreadable(message: "cannot read the \(what) \(printable(path)): \(reason)", hints: hints)
    }
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
    guard descriptor >= 0 else {
        throw refuse(
            String(cString: strerror(errno)).lowercased(),
            errno == ENOENT ? ["paths are relative to the current folder"] : [])
    }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while bytes.count <= SourceText.mostBytes {
        let count = read(descriptor, &buffer, buffer.count)
        if count == 0 { break }
        guard count > 0 else {
            if errno == EINTR { continue }
            throw refuse(String(cString: strerror(errno)).lowercased())
        }
        bytes += buffer.prefix(count)
    }
    return bytes
}
