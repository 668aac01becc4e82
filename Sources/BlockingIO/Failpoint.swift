internal import Glibc
internal import Synchronization

/// Named places at which a test can end or stop the process, and named faults that a test can build in.
///
/// In builds without `DEBUG` and `REPRISE_FAILPOINTS` both are empty, and the environment is not looked at.
///
/// - `REPRISE_FAILPOINT=<name>:<n>:<action>`: at the n-th time (from 1) that the place is passed; the action is `kill`
///   (SIGKILL to itself) or `stop` (SIGSTOP to itself). The name `*` counts every place.
/// - `REPRISE_FAILPOINT_LOG=<file>`: appends the name of each place that is passed, one a line.
/// - `REPRISE_MUTANT=<name>,…`: turns named faults on.
package enum Failpoint {
    package static func hit(_ name: String) {
        #if DEBUG || REPRISE_FAILPOINTS
            FailpointState.shared.hit(name)
        #endif
    }

    /// True if the fault `name` is built in and turned on.
    package static func mutant(_ name: String) -> Bool {
        #if DEBUG || REPRISE_FAILPOINTS
            FailpointState.shared.mutants.contains(name)
        #else
            false
        #endif
    }
}

#if DEBUG || REPRISE_FAILPOINTS
    private final class FailpointState: Sendable {
        static let shared = FailpointState()

        let mutants: Set<String>
        private let target: (name: String, count: Int, signal: Int32)?
        private let log: Int32
        private let passed = Mutex(0)

        private init() {
            mutants = Set(Self.environment("REPRISE_MUTANT")?.split(separator: ",").map(String.init) ?? [])
            log =
                Self.environment("REPRISE_FAILPOINT_LOG").map { open($0, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600) } ?? -1
            target = Self.environment("REPRISE_FAILPOINT").map { text in
                let parts = text.split(separator: ":").map(String.init)
                guard parts.count == 3, let count = Int(parts[1]), count > 0, ["kill", "stop"].contains(parts[2]) else {
                    fatalError("REPRISE_FAILPOINT is not <name>:<n>:kill or <name>:<n>:stop")
                }
                return (parts[0], count, parts[2] == "kill" ? SIGKILL : SIGSTOP)
            }
        }

        func hit(_ name: String) {
            if log >= 0 {
                let line = Array("\(name)\n".utf8)
                _ = write(log, line, line.count)
            }
            guard let target, target.name == "*" || target.name == name else { return }
            let count = passed.withLock { count in
                count += 1
                return count
            }
            // Sent to this very thread: sent to the process, a stop may reach another thread first and let this one go on.
            if count == target.count { pthread_kill(pthread_self(), target.signal) }
        }

        private static func environment(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }
        }
    }
#endif
