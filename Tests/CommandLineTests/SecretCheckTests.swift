import Foundation
import Testing

/// `reprise check` asks for each secret that the plan names, and says nothing of what it holds.
@Suite struct SecretCheckTests {
    @Test func secretsThatAreNotToBeHadAreFoundBeforeAnythingStarts() async throws {
        let program = try Program()
        for name in ["good", "open"] { try program.write("canary-\(name)\n", to: name) }
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: "\(program.folder)/good")
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: "\(program.folder)/open")
        try program.write(
            """
            all:
              hosts: {}
            reprise:
              secrets:
                good: file:\(program.folder)/good
                open-to-all: file:\(program.folder)/open
                nowhere: "command:echo canary-said >&2; exit 3"
                unused: env:NO_SUCH_VARIABLE

            """, to: "inventory/here.yaml")
        try program.write(
            """
            reprise: 1
            name: secretive
            steps:
              - id: work
                kind: command
                on: [orchestrator]
                with:
                  environment:
                    A: {secret: good}
                    B: {secret: open-to-all}
                    C: {secret: nowhere}
                  run: exit 0
              - id: key
                kind: secret-file
                on: [orchestrator]
                with:
                  path: /nonexistent/key
                  secret: good

            """, to: "plans/secretive.yaml")
        let checked = try await program.run("check", "secretive", "--json")
        #expect(checked.status == 1, "\(checked.output) \(checked.errors)")
        let findings = try #require(try checked.json() as? [[String: Any]])
        func said(_ subject: String) -> String? { findings.first { $0["subject"] as? String == subject }?["text"] as? String }
        #expect(said("secrets") == "1 of 3 that the plan names are to be had")
        #expect(said("secret open-to-all, for work")?.contains("can be read by others") == true, "\(checked.output)")
        #expect(said("secret nowhere, for work")?.hasSuffix("its command ended with 3") == true, "\(checked.output)")
        #expect(!checked.output.contains("canary") || checked.output.components(separatedBy: "canary").count == 2, "only the command itself may be shown")
        #expect(!checked.output.contains("NO_SUCH_VARIABLE"))

        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: "\(program.folder)/open")
        let inventory = program.read("inventory/here.yaml").replacing("command:echo canary-said >&2; exit 3", with: "command:echo canary-said")
        try program.write(inventory, to: "inventory/here.yaml")
        let mended = try await program.run("check", "secretive")
        #expect(mended.status == 0 && mended.output.contains("3 of 3 that the plan names are to be had"), "\(mended.output) \(mended.errors)")
        #expect(!mended.output.contains("canary"))
    }
}
