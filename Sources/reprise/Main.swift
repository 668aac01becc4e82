import ArgumentParser
internal import Foundation
internal import Glibc
internal import RunCore
internal import SSH

/// The root of the command line. Commands are thin: what they do is in the modules.
struct Reprise: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reprise", abstract: "Drives disaster recoveries across hosts, and carries on after being killed at any instant.",
        discussion: help(
            """
            A recovery is a plan (a YAML file of steps) carried out on the hosts of an inventory. Every transition is in a journal \
            before and after it happens, and every command on a host is a durable job there: whatever dies, `reprise resume` carries \
            on, and nothing is done twice.

            RUN is the id of a run or an unambiguous beginning of it; without one the latest run is meant.
            Shell completions: reprise --generate-completion-script bash|zsh|fish
            """),
        version: Version.text,
        subcommands: [
            PlanGroup.self, CheckCommand.self, StartCommand.self, ResumeCommand.self, StatusCommand.self, ListCommand.self,
            WatchCommand.self, LogsCommand.self, PauseCommand.self, CancelCommand.self, UndoCommand.self, RetryCommand.self,
            SkipCommand.self, ResolveCommand.self, ApproveCommand.self, DenyCommand.self, ReportCommand.self, JournalGroup.self,
            BackupGroup.self, DiffCommand.self, MergeCommand.self, ClaimsGroup.self, AdoptCommand.self, CompletionsCommand.self, VersionCommand.self,
        ])
}

@main
enum Main {
    static func main() async {
        // A closed pipe must end a write, not the process.
        signal(SIGPIPE, SIG_IGN)
        prepareSSH()
        keepDescriptorsFromChildren()
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            var command = try Reprise.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            exit(ExitStatus.done.rawValue)
        } catch {
            exit(Failures.report(error, arguments: arguments).rawValue)
        }
    }
}

/// Whatever the caller left open (a lock of a script, a pipe of a scheduler) must not live on in jobs that outlive this process.
private func keepDescriptorsFromChildren() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
        guard let descriptor = Int32(name), descriptor > STDERR_FILENO else { continue }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }
}

/// A command has said all there is to say; only its exit status is left.
struct Ended: Error {
    let status: ExitStatus

    /// Throws unless `status` is `done`.
    static func check(_ status: ExitStatus) throws {
        if status != .done { throw Ended(status: status) }
    }
}

enum Version {
    static let text = "0.1.0"
}

/// The discussion of a command's help: `text`, then what the exit statuses mean.
func help(_ text: String = "") -> String {
    (text.isEmpty ? "" : text + "\n\n") + """
        EXIT STATUS
          0    done
          1    failed
          2    bad usage, or a plan, inventory or journal that was refused
          3    what came back is not what was backed up
          4    a host or a store cannot be reached
          5    the run waits for a person: an approval, or a step in doubt
          6    interrupted; the run can be resumed
          7    the run is held by another operator's process
          8    done, with warnings
          130  stopped by Ctrl-C; jobs on hosts go on, `resume` picks them up
        """
}
