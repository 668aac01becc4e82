package import RunCore

/// A failure of the connection to a host, or of something asked of it.
package struct SSHError: RepriseError {
    package let code: String
    package let message: String
    package let hints: [String]
    package let exitStatus: ExitStatus
    package let isTransient: Bool

    init(_ code: String, _ message: String, hints: [String] = [], exitStatus: ExitStatus = .unreachable, transient: Bool = false) {
        self.code = "ssh.\(code)"
        self.message = message
        self.hints = hints
        self.exitStatus = exitStatus
        isTransient = transient
    }

    /// The connection is gone; what was under way on the host may still be.
    static func channelCut(_ target: SSHTarget, _ what: String, _ detail: String) -> SSHError {
        SSHError(
            "channel-cut", "the connection to \(target.name) (\(target.address)) was lost while \(what): \(detail)",
            hints: ["jobs on the host go on without the connection; connect again and ask the ledger"], transient: true)
    }

    static func peerSilent(_ target: SSHTarget) -> SSHError {
        SSHError(
            "peer-silent",
            "nothing was heard from \(target.name) (\(target.address)) for \(target.deadPeerTimeout), keepalives included",
            hints: ["check the network and that the host is up; jobs on the host go on without the connection"], transient: true)
    }
}

/// Names an address and wraps text for one line of a message: control characters never reach a terminal.
func printable(_ bytes: some Collection<UInt8>, limit: Int = 400) -> String {
    let text = String(decoding: bytes.suffix(limit), as: UTF8.self)
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\n": result += "; "
        case "\r": break
        case "\t": result += " "
        case _ where scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value): result += "?"
        default: result.unicodeScalars.append(scalar)
        }
    }
    while result.hasSuffix("; ") { result.removeLast(2) }
    return result
}
