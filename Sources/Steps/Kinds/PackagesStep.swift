package import PlanModel
package import RunCore

/// Installs Debian packages, in the versions that the plan pins.
///
/// Locks that others hold are waited for; packages that an interrupted run left half done are mended first; changed configuration files are
/// kept; nothing is removed; no service is started unless the plan says so. Another try may help where a package source or a lock failed it;
/// a package that no source offers is refused. Evidence and output `versions`: each package with its version.
package struct PackagesStep: WantedStateKind {
    package static let schema = StepKindSchema(
        name: "packages", summary: "installs Debian packages on hosts",
        fields: [
            FieldSchema("names", .list(.string), isRequired: true, help: "packages, each as NAME or NAME=VERSION"),
            FieldSchema(
                "update", .choice(["auto", "always", "never"]), default: .string("auto"),
                help: "read the package sources again: auto where a package is wanted that they are not known to offer"),
            FieldSchema("hold", .boolean, help: "true: upgrades leave them as they are; false: they do not; without it this stays as it is"),
            FieldSchema("recommends", .boolean, default: .boolean(false), help: "install what they recommend as well"),
            FieldSchema("start-services", .boolean, default: .boolean(false), help: "let packages start their services at once"),
            FieldSchema("wait", .duration, default: .string("5m"), help: "how long to wait for locks that another installation holds"),
        ], needsHost: true)

    package init() {}

    package func wantedState(on host: String, _ context: StepContext) async throws -> WantedState {
        var environment = ["PACKAGES": try Self.checked(context.strings("names"), step: context.step).joined(separator: " ")]
        environment["UPDATE"] = try context.string("update")
        environment["HOLD"] = context.with["hold"]?.boolValue.map { $0 ? "yes" : "no" } ?? ""
        environment["RECOMMENDS"] = "\(context.boolean("recommends", default: false))"
        environment["START_SERVICES"] = "\(context.boolean("start-services", default: false))"
        environment["WAIT"] = "\(try context.duration("wait")?.components.seconds ?? 300)"
        return WantedState(script: packagesScript, environment: environment)
    }

    /// Only what can be nothing but a package's name reaches apt: it would read a `-` behind a name as its removal, and others as patterns.
    static func checked(_ names: [String], step: StepID) throws -> [String] {
        var seen: Set<String> = []
        for text in names {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard isName(parts[0]), parts.count == 1 || isVersion(parts[1]) else {
                throw StepRefused(
                    "packages.bad-name", "step \(step): `\(text)` is neither the name of a package nor NAME=VERSION",
                    hints: ["names hold a–z, 0–9, `+`, `-` and `.`, and do not end with `-`"], exitStatus: .usage)
            }
            guard seen.insert(String(parts[0])).inserted else {
                throw StepRefused("packages.twice", "step \(step): `names` has \(parts[0]) twice", exitStatus: .usage)
            }
        }
        guard !names.isEmpty else { throw StepRefused("packages.none", "step \(step): `names` is empty", exitStatus: .usage) }
        return names
    }

    private static func isName(_ text: Substring) -> Bool {
        func isPlain(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
        guard let first = text.utf8.first, isPlain(first), text.utf8.last != UInt8(ascii: "-") else { return false }
        return text.utf8.count >= 2 && text.utf8.allSatisfy { isPlain($0) || [UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ".")].contains($0) }
    }

    private static func isVersion(_ text: Substring) -> Bool {
        guard let first = text.unicodeScalars.first, ("0"..."9").contains(first) else { return false }
        return text.utf8.allSatisfy { byte in
            let scalar = Unicode.Scalar(byte)
            return scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || ".+-:~".unicodeScalars.contains(scalar))
        }
    }

    package func outputs(of evidence: [String], _ context: StepContext) throws -> [String: JSONValue] {
        ["versions": .string(evidence.joined(separator: ", "))]
    }

    package func manualCommands(_ context: StepContext) -> [String] {
        guard let names = try? Self.checked(context.strings("names"), step: context.step) else { return [] }
        let recommends = context.boolean("recommends", default: false) ? "" : " --no-install-recommends"
        let hold = context.with["hold"]?.boolValue.map { " && apt-mark \($0 ? "hold" : "unhold") \(names.map { $0.prefix { $0 != "=" } }.joined(separator: " "))" }
        return [
            "# on \(context.hosts.joined(separator: ", ")), as root:",
            "dpkg --configure -a && apt-get update && apt-get install\(recommends) \(names.joined(separator: " "))\(hold ?? "")",
        ]
    }
}
