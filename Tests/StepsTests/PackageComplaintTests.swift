import Testing

@testable import Steps

/// What is told of apt where it cannot install, run on this machine with an apt that does nothing.
@Suite struct PackageComplaintTests {
    @Test func theReasonIsToldThatStandsFarAboveTheEnd() throws {
        let folder = try TestFolder()
        let programs = [
            "id": "echo 0", "dpkg-query": ":", "apt-cache": "printf 'foo:\\n  Candidate: 1\\n     1 500\\n'",
            "apt-get": """
                cat <<'SAID'
                Setting up foo (1) ...
                dpkg: error processing package foo (--configure):
                 installed foo package post-installation script subprocess returned error exit status 1
                Processing triggers for man-db ...
                Processing triggers for libc-bin ...
                Errors were encountered while processing:
                 foo
                E: Sub-process /usr/bin/dpkg returned an error code (1)
                SAID
                exit 100
                """,
        ]
        for (name, program) in programs { try folder.write("#!/bin/sh\n\(program)\n", to: "bin/\(name)", mode: 0o755) }
        let environment = [
            "PATH": folder.file("bin") + ":/usr/sbin:/usr/bin:/sbin:/bin", "PACKAGES": "foo", "UPDATE": "never", "HOLD": "", "RECOMMENDS": "false",
            "START_SERVICES": "true", "WAIT": "0",
        ]
        let outcome = try runLocally(packagesScript, environment, in: folder.path)
        #expect(outcome.status == 1, "\(outcome)")
        let told = outcome.complained.split(separator: "\n").last.map(String.init)
        let reason = "dpkg: error processing package foo (--configure):; installed foo package post-installation script subprocess returned error exit status 1"
        #expect(told == "apt could not install foo: \(reason)", "\(outcome)")
    }
}
