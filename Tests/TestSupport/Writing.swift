internal import Foundation
package import Glibc

/// Writes a file that may be executed at once.
///
/// A program that another test starts while the file is open for writing would inherit it, and for as long as that one runs nobody could
/// execute the file: so it is closed for others, which Foundation's own writing is not.
///
/// - Throws: `ToolFailed` where it cannot be written.
package func writeProgram(_ text: String, to path: String, mode: mode_t) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw ToolFailed(description: "\(path) cannot be written: \(String(cString: strerror(errno)))") }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try file.write(contentsOf: Data(text.utf8))
    try file.close()
    chmod(path, mode)
}
