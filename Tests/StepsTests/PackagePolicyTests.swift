import Foundation
import Glibc
import Testing

@testable import Steps

/// Whether packages start services, where two steps install on one host: the policy that both write, under a name of the test's own.
@Suite(.enabled(if: geteuid() == 0, "SKIPPED: packages are installed by root")) final class PackagePolicyTests {
    private let folder: TestFolder
    private let sibling = Process()
    private var policy: String { folder.file("sbin/policy-rc.d") }

    init() throws {
        folder = try TestFolder()
        // Nothing is installed; what apt-get would do finds the policy as it then is.
        let programs = [
            "dpkg-query": "[ ! -e '\(folder.path)/done' ] || echo 'foo 1 install ok installed'", "apt-cache": "printf 'foo:\\n  Candidate: 1\\n     1 500\\n'",
            "apt-get": "case $* in *install*) touch '\(folder.path)/done'; cp '\(policy)' '\(folder.path)/seen'; sh '\(policy)'; echo $? >'\(folder.path)/answer';; esac",
        ]
        for (name, program) in programs { try folder.write("#!/bin/sh\n\(program)\n", to: "bin/\(name)", mode: 0o755) }
        try folder.write("", to: "sbin/.keep")
        sibling.executableURL = URL(fileURLWithPath: "/bin/sleep")
        sibling.arguments = ["600"]
        try sibling.run()
    }

    deinit { if sibling.isRunning { kill(sibling.processIdentifier, SIGKILL) } }

    private func install() throws -> ScriptOutcome {
        let environment = [
            "PATH": folder.file("bin") + ":/usr/sbin:/usr/bin:/sbin:/bin", "PACKAGES": "foo", "UPDATE": "never", "HOLD": "", "RECOMMENDS": "false",
            "START_SERVICES": "false", "WAIT": "0",
        ]
        return try runLocally(packagesScript.replacing("/usr/sbin/policy-rc.d", with: policy), environment, in: folder.path)
    }

    private func answer() throws -> Int32 { try runLocally("exec sh '\(policy)'", [:], in: folder.path).status }

    /// As a step leaves it that is at work in the process `sibling`.
    private func siblingsPolicy() throws {
        let stat = try String(contentsOfFile: "/proc/\(sibling.processIdentifier)/stat", encoding: .utf8)
        let started = try #require(stat.split(separator: ")").last).split(separator: " ")[19]
        let text = """
            #!/bin/sh
            # made by reprise: packages start no services while one of these processes runs
            runs() { read -r line 2>/dev/null <"/proc/$1/stat" || return 1; set -- "$2" ${line##*) }; [ "${21}" = "$1" ]; }
            runs \(sibling.processIdentifier) \(started) && exit 101
            exit 0

            """
        try folder.write(text, to: "sbin/policy-rc.d", mode: 0o755)
    }

    @Test func noServiceIsStartedMeanwhileAndNothingIsLeft() throws {
        let outcome = try install()
        #expect(outcome.status == 0 && folder.text("answer") == "101\n", "\(outcome)")
        #expect(folder.mode("sbin/policy-rc.d") == nil)
    }

    @Test func theStepBesideItKeepsItsPolicyForAsLongAsItLives() throws {
        try siblingsPolicy()
        let outcome = try install()
        #expect(outcome.status == 0 && folder.text("answer") == "101\n", "\(outcome)")
        #expect(try answer() == 101, "the sibling's packages would start their services")
        // The one that came first ends first: the other one's own word counts.
        let both = try #require(folder.text("seen"))
        #expect(both.matches(of: /runs \d+ \d+/).count == 2, "\(both)")
    }

    @Test func whatAStepThatIsGoneHasLeftIsTakenAway() throws {
        try siblingsPolicy()
        kill(sibling.processIdentifier, SIGKILL)
        sibling.waitUntilExit()
        #expect(try answer() == 0, "it has no effect")
        #expect(try install().status == 0)
        #expect(folder.mode("sbin/policy-rc.d") == nil)
    }

    @Test func somebodyElsesPolicyDecidesAndStays() throws {
        try folder.write("#!/bin/sh\nexit 0\n", to: "sbin/policy-rc.d", mode: 0o755)
        let outcome = try install()
        #expect(outcome.status == 0 && folder.text("answer") == "0\n" && outcome.complained.contains("is there already"), "\(outcome)")
        #expect(folder.text("sbin/policy-rc.d") == "#!/bin/sh\nexit 0\n")
    }
}
