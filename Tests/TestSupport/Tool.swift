internal import Foundation

/// A program of the system did not end well.
package struct ToolFailed: Error, CustomStringConvertible {
    package let description: String
}

/// Runs a program of the system to its end.
///
/// - Throws: `ToolFailed` where it ends with another status than 0.
package func tool(_ words: String...) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = words
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
        throw ToolFailed(description: "\(words.joined(separator: " ")) ended with \(process.terminationStatus)")
    }
}
