internal import Glibc
internal import Synchronization

/// Named places at which a test can end or stop the process, and named faults that a test can build in.
///
/// In builds without `DEBUG` and `REPRISE_FAILPOINTS` both are empty, and the environment is not looked at.
///
/// A place is a name and, after a space, what it is about: `job.before-submit swap#1 restore`. It is the same place in every
/// run of one plan, whichever process passes it.
///
/// - `REPRISE_FAILPOINT=<name>:<n>:<action>`: at the n-th time (from 1) that a place of that name is passed, whatever it is
///   about; the action is `kill` (SIGKILL to itself) or `stop` (SIGSTOP to itself). The name `*` counts every place.
/// - `REPRISE_FAILPOINT_KILL=<file>`: SIGKILL to itself at the first of the places in it, one a line.
/// - `REPRISE_FAILPOINT_LOG=<file>`: appends each place that is passed, one a line, and `died at <place>` before that kill.
/// - `REPRISE_MUTANT=<name>,…`: turns named faults on.
package enum Failpoint {
    /// - Parameter what: tells the place apart from others of its name; printable, on one line.
    package static func hit(_ name: String, _ what: @autoclosure () -> String = "") {
        #if DEBUG || REPRISE_FAILPOINTS
            if let state = FailpointState.shared { state.hit(name, what()) }
        #endif
    }

    /// Passes a place of that name for each of `all`, which happen at once.
    package static func hit<All: Sequence>(_ name: String, each all: @autoclosure () -> All) where All.Element == String {
        #if DEBUG || REPRISE_FAILPOINTS
            if let state = FailpointState.shared { for what in all() { state.hit(name, what) } }
        #endif
    }

    /// True if the fault `name` is built in and turned on.
    package static func mutant(_ name: String) -> Bool {
        #if DEBUG || REPRISE_FAILPOINTS
            Mutants.on.contains(name)
        #else
            false
        #endif
    }
}

#if DEBUG || REPRISE_FAILPOINTS
    private func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private enum Mutants {
        static let on = Set(environment("REPRISE_MUTANT")?.split(separator: ",").map(String.init) ?? [])
    }

    private final class FailpointState: Sendable {
        /// Nil where the environment asks for nothing.
        static let shared = FailpointState()

        private let target: (name: String, count: Int, signal: Int32)?
        private let deadly: Set<String>
        private let log: Int32
        private let passed = Mutex(0)

        private init?() {
            let logPath = environment("REPRISE_FAILPOINT_LOG"), killPath = environment("REPRISE_FAILPOINT_KILL")
            let wanted = environment("REPRISE_FAILPOINT")
            guard logPath != nil || killPath != nil || wanted != nil else { return nil }
            log = logPath.map { open($0, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600) } ?? -1
            deadly = Set(killPath.map(Self.lines) ?? [])
            target = wanted.map { text in
                let parts = text.split(separator: ":").map(String.init)
                guard parts.count == 3, let count = Int(parts[1]), count > 0, ["kill", "stop"].contains(parts[2]) else {
                    fatalError("REPRISE_FAILPOINT is not <name>:<n>:kill or <name>:<n>:stop")
                }
                return (parts[0], count, parts[2] == "kill" ? SIGKILL : SIGSTOP)
            }
        }

        func hit(_ name: String, _ what: String) {
            let place = what.isEmpty ? name : "\(name) \(what)"
            note(place)
            if deadly.contains(place) {
                // No other thread may claim to be the one that died.
                passed.withLock { _ in
                    note("died at \(place)")
                    kill(getpid(), SIGKILL)
                    while true { pause() }
                }
            }
            guard let target, target.name == "*" || target.name == name else { return }
            let count = passed.withLock { count in
                count += 1
                return count
            }
            // Sent to this very thread: sent to the process, a stop may reach another thread first and let this one go on.
            if count == target.count { pthread_kill(pthread_self(), target.signal) }
        }

        private func note(_ text: String) {
            guard log >= 0 else { return }
            let line = Array("\(text)\n".utf8)
            _ = write(log, line, line.count)
        }

        private static func lines(of path: String) -> [String] {
            guard let file = fopen(path, "r") else { fatalError("REPRISE_FAILPOINT_KILL names no file that can be read") }
            defer { fclose(file) }
            var text: [UInt8] = []
            while case let byte = getc(file), byte != EOF { text.append(UInt8(truncatingIfNeeded: byte)) }
            return String(decoding: text, as: UTF8.self).split(separator: "\n").map(String.init)
        }
    }
#endif
