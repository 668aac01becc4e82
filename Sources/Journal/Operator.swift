internal import Glibc
package import RunCore

/// Who operates a run: the process, the person behind it, and where they came from.
package struct OperatorIdentity: Codable, Hashable, Sendable {
    package let user: String
    package let host: String
    /// For people. A hold is never judged by it: process ids are reused.
    package let pid: Int32
    /// Where the person came from, for example the value of `SSH_CLIENT`.
    package let from: String?
    /// Drawn at random by each process; tells two processes with the same pid apart.
    package let processNonce: String

    package init(user: String, host: String, pid: Int32, from: String?, processNonce: String) {
        self.user = user
        self.host = host
        self.pid = pid
        self.from = from
        self.processNonce = processNonce
    }

    /// This process. The nonce is the same at every call.
    package static let current: OperatorIdentity = {
        var name = [CChar](repeating: 0, count: 256)
        let host = gethostname(&name, name.count - 1) == 0 ? text(name) : "unknown host"
        let from = getenv("SSH_CLIENT").map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        let nonce = String(UInt64.random(in: .min ... .max), radix: 36) + String(UInt64.random(in: .min ... .max), radix: 36)
        return OperatorIdentity(user: userName(), host: host, pid: getpid(), from: from, processNonce: nonce)
    }()

    /// `anna@bastion (process 4711, from 192.0.2.7 50022 22)`; control characters are taken out.
    package var summary: String {
        let origin = from.map { ", from \($0)" } ?? ""
        return "\(user)@\(host) (process \(pid)\(origin))".printable
    }

    private static func userName() -> String {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16_384)
        guard getpwuid_r(geteuid(), &entry, &buffer, buffer.count, &found) == 0, let found, let name = found.pointee.pw_name
        else { return "uid \(geteuid())" }
        return String(cString: name)
    }

    private static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// The right to append to one run. It ends when it is released, when its process ends, or when somebody takes over.
package struct Hold: Hashable, Sendable {
    package let run: RunID
    package let fence: Fence
    /// `OperatorIdentity.processNonce` of the holder.
    package let holderNonce: String
    /// Who held the run before and had not released it: a process that died, or one that was taken over.
    package let replaced: OperatorIdentity?
    /// The journal's own number of this hold, unique in the journal.
    package let number: Int64

    package init(run: RunID, fence: Fence, holderNonce: String, replaced: OperatorIdentity?, number: Int64) {
        self.run = run
        self.fence = fence
        self.holderNonce = holderNonce
        self.replaced = replaced
        self.number = number
    }
}

/// Who holds a run, as far as the journal and the operating system know.
package struct Holder: Codable, Hashable, Sendable {
    package let identity: OperatorIdentity
    package let fence: Fence
    /// Proven by a lock that the kernel drops when the process ends; true for a stopped process too.
    package let isAlive: Bool

    package init(identity: OperatorIdentity, fence: Fence, isAlive: Bool) {
        self.identity = identity
        self.fence = fence
        self.isAlive = isAlive
    }
}

extension String {
    /// The text without control characters, for messages: what others wrote must not move the cursor.
    var printable: String {
        String(String.UnicodeScalarView(unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
    }
}
