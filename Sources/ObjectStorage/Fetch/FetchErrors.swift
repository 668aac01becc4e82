package import RunCore

/// What arrived is not what was expected. Nothing of it is left under the final name.
package struct ContentMismatch: RepriseError {
    package let code = "fetch.content-mismatch"
    package let message: String
    package let hints = [
        "the object in the store is damaged, or it was damaged on the way: fetch it again, and if it stays so use an older backup"
    ]
    package var exitStatus: ExitStatus { .verificationMismatch }

    package init(_ name: String, _ digest: String, expected: String, actual: String) {
        message = "\(name) has \(digest) \(actual) where \(expected) was expected"
    }
}

/// Another fetch is writing the same file.
package struct FetchBusy: RepriseError {
    package let code = "fetch.busy"
    package let message: String
    package let hints = ["wait for the other process, or choose another path"]
    package var exitStatus: ExitStatus { .heldByAnother }

    init(path: String) { message = "another process is fetching to \(path)" }
}
