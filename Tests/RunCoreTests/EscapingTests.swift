import Foundation
import Testing

@testable import RunCore

struct EscapingTests {
    /// Whatever it holds; to Swift, a quote and a mark over it are one character that is no quote.
    @Test(arguments: ["", "it's", "'", "a'\u{301}; echo more; '\u{301}", "'\u{308}'", "$(echo no)\\\n\t\"`"])
    func aQuotedTextIsOneWordOfTheShell(text: String) throws {
        let shell = Process(), output = Pipe()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        shell.arguments = ["-c", "printf '%s' \(shellQuoted(text))"]
        shell.standardOutput = output
        try shell.run()
        let said = try output.fileHandleForReading.readToEnd() ?? Data()
        shell.waitUntilExit()
        #expect(shell.terminationStatus == 0 && Array(said) == Array(text.utf8))
    }
}
