import Testing

@testable import SSH
@testable import Steps

extension JobResult {
    /// As a host tells it of a job that wrote little.
    static func ended(_ status: Int) -> JobResult {
        JobResult(
            exitStatus: status, signal: nil, timedOut: false, cancelled: false, stdoutBytes: 0, stderrBytes: 0, stdoutKeptBytes: 0, stderrKeptBytes: 0,
            outputLostBytes: 0, startedAtMilliseconds: 0, endedAtMilliseconds: 1, durationMilliseconds: 1, bootID: "", leftBehind: [])
    }
}

/// What is told of the output of a program that failed.
@Suite struct GistTests {
    private func ending(_ stderr: String) -> String {
        DurableJobOutcome(result: .ended(1), stdout: [], stderr: Array(stderr.utf8)).ending
    }

    @Test func linesThatTellNothingAreLeftOut() {
        let certbot = """
              Detail: 192.0.2.1: Connection refused

            Some challenges have failed.
            Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /var/log/letsencrypt/letsencrypt.log or re-run Certbot with -v for more details.
            certbot could not issue a certificate for a.example

            """
        #expect(ending(certbot) == "exit status 1: Detail: 192.0.2.1: Connection refused\ncertbot could not issue a certificate for a.example")
        #expect(ending(" \n\t\n") == "exit status 1")
    }

    @Test func longLinesAreCutAndOnlyTheLastOnesAreTold() {
        let long = String(repeating: "é", count: 5000)
        let told = ending((1...20).map { "line \($0)" }.joined(separator: "\n") + "\n\(long)\n")
        #expect(told.hasPrefix("exit status 1: line 19\nline 20\né") && told.count < 400 && told.hasSuffix("…"))
    }

    /// The scripts on hosts tell the same.
    @Test func theScriptsGistIsTheSameOnOneLine() throws {
        let folder = try TestFolder()
        let said = "one\n\nERROR: no such place\r\n  fatal: Could not read  \n\nPlease make sure you have the correct access rights\nand the repository exists.\n"
        try folder.write(said, to: "said")
        let told = try runLocally(WantedState.words + "gist said", [:], in: folder.path, at: folder.path)
        #expect(told.said == "one; ERROR: no such place; fatal: Could not read\n", "\(told)")
        try folder.write("Please make sure you have the correct access rights\n", to: "said")
        #expect(try runLocally(WantedState.words + "echo \"($(gist said))\"", [:], in: folder.path, at: folder.path).said == "()\n")
    }
}
