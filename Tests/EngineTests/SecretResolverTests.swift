import Foundation
import PlanModel
import Testing

@testable import Engine

/// Secrets come whole or not at all, and why not is said so that a person can mend it.
@Suite struct SecretResolverTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("reprise-secret-\(UUID().uuidString)")

    private func file(_ content: String, mode: Int = 0o600) throws -> String {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let path = folder.appendingPathComponent("\(UUID().uuidString)").path
        try Data(content.utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        return path
    }

    private func why(_ reference: SecretReference) async -> String? {
        let error = await #expect(throws: SecretUnavailable.self) { try await SecretResolver.resolve("key", reference) }
        return error?.message
    }

    @Test func whatIsThereComesWithoutItsNewline() async throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        #expect(try await SecretResolver.resolve("key", .file(file("pass word\n"))) == "pass word")
        #expect(try await SecretResolver.resolve("key", .command("echo pass word")) == "pass word")
    }

    @Test func whatIsMissingEmptyOrOpenIsSaid() async throws {
        defer { try? FileManager.default.removeItem(at: folder) }
        #expect(await why(.file("/nowhere/key"))?.hasSuffix("there is no file /nowhere/key") == true)
        for empty in ["", "\n"] { #expect(await why(.file(try file(empty)))?.hasSuffix("is empty") == true) }
        #expect(await why(.file(try file("x", mode: 0o640)))?.hasSuffix("can be read by others") == true)
        #expect(await why(.file(try file(String(repeating: "x", count: 1 << 20 + 1))))?.hasSuffix("has more than 1 MiB") == true)
        #expect(await why(.file(folder.path))?.contains("cannot be read") == true)
        #expect(await why(.command("exit 3"))?.hasSuffix("its command ended with 3") == true)
        for empty in ["true", "echo"] { #expect(await why(.command(empty))?.hasSuffix("its command printed nothing") == true) }
        #expect(await why(.environment("REPRISE_TEST_NOWHERE"))?.hasSuffix("the environment variable REPRISE_TEST_NOWHERE is not set") == true)
    }
}
