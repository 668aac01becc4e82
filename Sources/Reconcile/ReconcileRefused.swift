package import RunCore

/// Two tables cannot be compared or merged as wished. Nothing was changed.
package struct ReconcileRefused: RepriseError {
    package let code: String
    package let message: String
    package let hints: [String]
    package let exitStatus: ExitStatus

    package init(_ code: String, _ message: String, hints: [String] = [], exitStatus: ExitStatus = .usage) {
        self.code = code
        self.message = message
        self.hints = hints
        self.exitStatus = exitStatus
    }
}
