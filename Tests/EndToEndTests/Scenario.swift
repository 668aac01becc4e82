import Foundation
import Glibc
import TestSupport
import Testing

/// How a scenario in the lab ended.
struct ScenarioOutcome: Sendable {
    let status: Int32
    let said: String
}

/// A scenario is a bash script that drives the built program against the lab's real hosts, after `prelude`. It says what it
/// expected and what it saw, and ends with a status other than 0 at the first difference.
enum Scenario {
    static var isEnabled: Bool { ProcessInfo.processInfo.environment["REPRISE_LAB"] == "1" }

    /// The checkout.
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    /// The program beside this test's own executable.
    static func programPath() -> String {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        let own = String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return (own as NSString).deletingLastPathComponent + "/reprise"
    }

    /// Runs `script` and expects it to end well.
    static func play(_ script: String, _ location: SourceLocation = #_sourceLocation) async throws {
        let outcome = try await run(script)
        #expect(outcome.status == 0, "\(outcome.said)", sourceLocation: location)
    }

    static func run(_ script: String) async throws -> ScenarioOutcome {
        try await withCheckedThrowingContinuation { continuation in
            Thread { continuation.resume(with: Result { try runSync(script) }) }.start()
        }
    }

    private struct NotStarted: Error {}

    private static func runSync(_ script: String) throws -> ScenarioOutcome {
        var template = Array("/tmp/reprise-e2e-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw NotStarted() }
        let folder = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, folder + "/said", O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("REPRISE_FAILPOINT") }
        environment["REPRISE"] = programPath()
        environment["ROOT"] = root
        environment["WORK"] = folder
        let arguments: [UnsafeMutablePointer<CChar>?] = (["bash", "-c", prelude + script] as [String]).map { strdup($0) } + [nil]
        let variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        var pid: pid_t = 0
        let result = withSpawnAttributes { posix_spawn(&pid, "/bin/bash", &actions, $0, arguments, variables) }
        guard result == 0 else { throw NotStarted() }
        let status = waitForEnd(of: pid)
        let said = (try? String(contentsOfFile: folder + "/said", encoding: .utf8)) ?? ""
        return ScenarioOutcome(status: status, said: String(said.suffix(6000)))
    }

    /// What every scenario can use.
    static let prelude = #"""
        set -euo pipefail
        cd "$ROOT"
        J=$WORK/state/journal.sqlite PLAN=plans/db-corruption.yaml INVENTORY=inventory/lab.yaml BACKGROUND=
        mkdir -m 700 "$WORK/state"
        LAB=${REPRISE_LAB_DIR:-/var/lib/reprise-lab}
        declare -a UNDO=()
        # Ends what this scenario started, by its recorded id, and takes back what it changed in the lab.
        finish() {
            local command
            [[ -z $BACKGROUND ]] || kill -KILL "$BACKGROUND" 2>/dev/null || true
            for command in "${UNDO[@]}"; do eval "$command" >/dev/null 2>&1 || true; done
        }
        trap finish EXIT
        lab() { scripts/lab "$@" >>"$WORK/lab.log" 2>&1 || { echo "scripts/lab $* failed:"; tail -n 5 "$WORK/lab.log"; exit 1; }; }
        # A seeded lab with a new backup, and its database corrupted after it.
        fresh() { lab reset; lab backup; lab corrupt; DAMAGED=$(oid chms_production); }
        reprise() { "$REPRISE" "$@" --journal "$J"; }
        start() { reprise start "$PLAN" --inventory "$INVENTORY" --yes "$@"; }
        # Runs a command; its exit status goes into CODE and what it says into OUT.
        CODE=0 OUT=
        try() { CODE=0; OUT=$("$@" 2>&1) || CODE=$?; printf '$ %s → %s\n%s\n' "$*" "$CODE" "$(tail -n 12 <<<"$OUT")"; }
        expect() { [[ $2 == "$3" ]] || { echo "$OUT" | tail -n 60; echo "EXPECTED $1 to be $2, SEEN $3"; exit 1; }; }
        expect_said() { grep -qF -- "$1" <<<"$OUT" || { echo "EXPECTED it to say: $1"; echo "$OUT" | tail -n 40; exit 1; }; }
        sql() { scripts/lab sql db1 "$1" -At <<<"$2"; }
        oid() { sql postgres "SELECT oid FROM pg_database WHERE datname = '$1'"; }
        databases() { sql postgres "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'chms%'"; }
        health() { curl -s -m 10 -o /dev/null -w '%{http_code}' http://10.77.0.11/api/health; }
        state() { reprise status --json | perl -MJSON::PP -0777 -ne 'print decode_json($_)->{state}'; }
        # The end that a recovery must have, whatever happened on the way.
        recovered() {
            expect "the run" "${1:-SUCCEEDED}" "$(state)"
            expect "the databases" "chms_damaged chms_production chms_seed" "$(databases)"
            expect "the damaged database" "$DAMAGED" "$(oid chms_damaged)"
            expect "the application's answer" 200 "$(health)"
            expect "the members" 2000 "$(sql chms_production 'SELECT count(full_name) FROM members')"
            expect "archives in the logs" 0 "$(reprise logs | grep -c PGDMP || true)"
            reprise journal verify >/dev/null || { echo "the journal does not verify"; exit 1; }
        }
        untouched() { expect "production" "$DAMAGED" "$(oid chms_production)"; expect "chms_damaged" "" "$(oid chms_damaged)"; }
        # Waits for a condition. The machine may have other things to do: only what never comes is waited for to the end.
        await() { local what=$1 end=$((SECONDS + 180)); shift; until "$@"; do ((SECONDS < end)) || { echo "never seen: $what"; exit 1; }; sleep 0.02; done; }
        # Only looks at processes; hosts' processes are seen from the machine. The brackets keep this script itself out.
        restoring() { pgrep -f 'pg_restore [-]-verbose [-]-no-password' >/dev/null; }
        # Whether dpkg has noted a package as half done. Its process alone proves nothing: first it reads what is installed, for as long as it takes.
        half_unpacked() { there sh -c 'grep -qsE "^Status: .* (half-installed|unpacked)$" /var/lib/dpkg/updates/* /var/lib/dpkg/status'; }
        behind() { "$REPRISE" start "$PLAN" --inventory "$INVENTORY" --yes "$@" --journal "$J" >"$WORK/background.log" 2>&1 & BACKGROUND=$!; }
        background() { behind --param approve=no "$@"; }
        join() { CODE=0; wait "$BACKGROUND" || CODE=$?; BACKGROUND=; tail -n 12 "$WORK/background.log"; }
        killed() { kill -KILL "$BACKGROUND"; join; expect "the exit status" 137 "$CODE"; }
        # Goes on until the run ends, as a responder would.
        resume_to_end() { local n; for n in 1 2 3; do try reprise resume; [[ $CODE != 0 ]] || return 0; done; echo "three resumes did not end the run"; exit 1; }

        """#
}
