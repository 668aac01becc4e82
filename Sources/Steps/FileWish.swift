internal import PlanModel
internal import RunCore
internal import SSH

/// What is wanted at one path of a host, and how `fileScript` is told.
struct FileWish: Sendable {
    enum Thing: Sendable {
        case file(content: [UInt8], isSecret: Bool)
        case directory
        case link(target: String)
        case absent
    }

    var path: String
    var thing: Thing
    /// Octal digits.
    var mode: String
    var owner = ""
    var group = ""
    /// A shell script; empty: the file is not validated.
    var validate = ""

    func state(_ context: StepContext) -> WantedState {
        WantedState(script: fileScript, environment: context.scriptEnvironment().merging(environment) { _, own in own }, stdin: content)
    }

    /// What `fileScript` reads, but for the content.
    var environment: [String: String] {
        let (what, target, isSecret) =
            switch thing {
            case .file(_, let isSecret): ("file", "", isSecret)
            case .directory: ("directory", "", false)
            case .link(let target): ("link", target, false)
            case .absent: ("absent", "", false)
            }
        return [
            "WISH": what, "WISH_PATH": path, "WISH_MODE": mode, "WISH_OWNER": owner, "WISH_GROUP": group, "WISH_TARGET": target,
            "WISH_VALIDATE": validate, "WISH_SECRET": isSecret ? "1" : "",
        ]
    }

    var content: [UInt8] { if case .file(let content, _) = thing { content } else { [] } }

    /// The same by hand.
    ///
    /// - Parameters:
    ///   - text: what is in the file; nil where that is not to be shown.
    ///   - what: says it in words.
    func manualCommands(text: String? = nil, _ what: String = "") -> [String] {
        let path = shellQuoted(path)
        switch thing {
        case .file:
            let rights = "install -m \(mode)" + (owner.isEmpty ? "" : " -o \(owner)") + (group.isEmpty ? "" : " -g \(group)")
            let check = validate.isEmpty ? [] : ["FILE=\(path).new sh -eu <<'CHECK'"] + validate.split(separator: "\n").map(String.init) + ["CHECK"]
            var fill = ["# put \(what) into \(path).new, then:"]
            if let text {
                let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
                fill = (what.isEmpty ? [] : ["# \(what):"]) + ["cat >\(path).new <<'END_OF_FILE'"] + (lines.last == "" ? lines.dropLast() : lines) + ["END_OF_FILE"]
            }
            return fill + check + ["\(rights) -- \(path).new \(path) && rm -- \(path).new"]
        case .directory:
            return ["install -d -m \(mode)" + (owner.isEmpty ? "" : " -o \(owner)") + (group.isEmpty ? "" : " -g \(group)") + " -- \(path)"]
        case .link(let target): return ["ln -sfnT -- \(shellQuoted(target)) \(path)"]
        case .absent: return ["rm -f -- \(path)"]
        }
    }
}

/// The fields that files of all kinds have.
enum FileFields {
    static let path = FieldSchema("path", .path, isRequired: true, help: "where it lies on the host")
    static let owner = FieldSchema("owner", .account, help: "who owns it; without it a new one belongs to the login, an old one stays as it is")
    static let group = FieldSchema("group", .account, help: "its group; without it the owner's own, where `owner` is given")
    static let validate = FieldSchema(
        "validate", .text, help: "a script that looks at the new file, as $FILE, before it takes its place; any exit status but 0 refuses it")

    static func mode(_ standard: String) -> FieldSchema {
        FieldSchema("mode", .string, help: "three or four octal digits, in quotes; without it \(standard)")
    }
}

extension StepContext {
    /// The wish that the common fields describe.
    func fileWish(_ thing: FileWish.Thing, mode standard: String) throws -> FileWish {
        let mode = optionalString("mode") ?? standard
        guard (3...4).contains(mode.utf8.count), mode.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }) else {
            throw StepRefused(
                "file.bad-mode", "step \(step): `\(mode)` is no mode of a file",
                hints: ["write three or four octal digits, in quotes: mode: \"0640\""], exitStatus: .usage)
        }
        return FileWish(
            path: try string("path"), thing: thing, mode: mode, owner: optionalString("owner") ?? "", group: optionalString("group") ?? "",
            validate: optionalString("validate") ?? "")
    }

    /// A secret as a file holds it. Stores hand secrets out without the newline at their end, and programs that read keys want it back.
    func secretContent(_ name: String) async throws -> [UInt8] {
        var bytes = Array(try await services.secret(name).utf8)
        if boolean("final-newline", default: true), bytes.last != UInt8(ascii: "\n") { bytes.append(UInt8(ascii: "\n")) }
        return bytes
    }
}
