package import RunCore

/// A fetch on a host failed; its ledger holds the exit status.
package struct HostFetchFailed: RepriseError {
    package enum Kind: String, Sendable, Hashable {
        case contentMismatch = "content-mismatch"
        case unreachable
        case wrongRange = "wrong-range"
        case noProgram = "no-program"
        case diskFull = "disk-full"
        case damaged
        case quota
        case noRoom = "no-room"
        case unexpected
    }

    package let kind: Kind
    package let message: String
    package let hints: [String]

    init(_ kind: Kind, _ message: String, _ hints: String...) {
        self.kind = kind
        self.message = message
        self.hints = hints
    }

    package var code: String { "host-fetch.\(kind.rawValue)" }

    package var exitStatus: ExitStatus {
        switch kind {
        case .contentMismatch: .verificationMismatch
        case .unreachable, .wrongRange: .unreachable
        case .noProgram, .diskFull, .damaged, .quota, .noRoom, .unexpected: .failed
        }
    }

    package var isTransient: Bool { kind == .unreachable || kind == .wrongRange }
}
