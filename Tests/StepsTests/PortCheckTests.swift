import BlockingIO
import Glibc
import SSH
import Testing

@testable import Steps

struct PortCheckTests {
    /// As `/proc/net/tcp` and `tcp6` have it on a host whose low byte comes first.
    @Test func aHostTellsOnWhichPortsItListensForOthers() {
        let table = """
              sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
               0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 1 1 0 100 0 0 10 0
               1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
               2: 7F00000A:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
               3: 0E004D0A:0016 01004D0A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 100 0 0 10 0
              sl  local_address                         remote_address                        st tx_queue rx_queue
               0: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
               1: 0000000000000000FFFF00000100007F:0CEA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
               2: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
               3: 0000000000000000FFFF00000A000001:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
            """
        // 10.0.0.127 ends in 127 and is no loopback; what is connected listens no more.
        #expect(ListeningPorts.read(table) == [22, 8080, 443, 80])
        #expect(ListeningPorts.read("").isEmpty && ListeningPorts.read("nothing of the kind\n: :\n").isEmpty)
    }

    @Test func aPortIsOpenOrRefusedOrSilent() async throws {
        let (listener, port) = try listening(queue: 5)
        #expect(try await PortAnswer.dialling("127.0.0.1", port: port, patience: .seconds(10)) == .open)
        close(listener)
        #expect(try await PortAnswer.dialling("127.0.0.1", port: port, patience: .seconds(10)) == .refused)
        await #expect(throws: SSHError.self) { try await PortAnswer.dialling("no-such-name.invalid", port: 1, patience: .seconds(10)) }
    }

    /// Whoever listens and takes nobody any more lets further ones wait without an answer, as a firewall that drops does.
    @Test func aPortThatDoesNotAnswerIsSilent() async throws {
        let (listener, port) = try listening(queue: 0)
        defer { close(listener) }
        var waiting: [Int32] = []
        defer { waiting.forEach { close($0) } }
        for _ in 0..<4 {
            let caller = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0)
            _ = onLoopback(port) { connect(caller, $0, $1) }
            waiting.append(caller)
        }
        #expect(try await PortAnswer.dialling("127.0.0.1", port: port, patience: .milliseconds(300)) == .silent)
    }

    private func onLoopback<Value>(_ port: Int, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) -> Value) -> (Value, port: Int) {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let value = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        return (value, Int(UInt16(bigEndian: address.sin_port)))
    }

    private func listening(queue: Int32) throws -> (listener: Int32, port: Int) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let (isBound, port) = onLoopback(0) { address, size in
            var size = size
            return bind(listener, address, size) == 0 && listen(listener, queue) == 0 && getsockname(listener, address, &size) == 0
        }
        try #require(isBound)
        return (listener, port)
    }
}
