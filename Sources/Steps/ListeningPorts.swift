internal import Foundation

/// TCP ports on which a host listens for others than itself, out of the kernel's own list: it takes no program and no rights to read it.
enum ListeningPorts {
    static let command = "cat /proc/net/tcp; ! [ -e /proc/net/tcp6 ] || cat /proc/net/tcp6"

    /// - Parameter table: what `command` writes: `sl local_address rem_address st …`, addresses in hex, in the host's byte order by words.
    static func read(_ table: String) -> Set<Int> {
        var ports: Set<Int> = []
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            // 0A: it listens.
            guard fields.count > 3, fields[3] == "0A" else { continue }
            let local = fields[1].split(separator: ":")
            guard local.count == 2, let port = Int(local[1], radix: 16), !isLoopback(local[0]) else { continue }
            ports.insert(port)
        }
        return ports
    }

    /// 127.0.0.0/8, ::1, and the former written as IPv6, where the low byte comes first. Of another host nothing is taken for loopback, so that
    /// no port is left out.
    private static func isLoopback(_ address: Substring) -> Bool {
        switch address.count {
        case 8: address.hasSuffix("7F")
        case 32:
            address == "00000000000000000000000001000000" || address.hasPrefix("0000000000000000FFFF0000") && address.hasSuffix("7F")
        default: false
        }
    }
}
