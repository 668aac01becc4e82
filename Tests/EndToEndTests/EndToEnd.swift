import Testing

/// Everything here shares one lab, so one scenario runs at a time.
@Suite(.serialized, .enabled(if: Scenario.isEnabled, "needs the lab: scripts/lab up, then REPRISE_LAB=1 as root"))
enum EndToEnd {}

/// Says it where nobody would notice that nothing was tested.
@Suite struct EndToEndNotice {
    @Test(.enabled(if: !Scenario.isEnabled))
    func endToEndTestsAreSkippedLoudlyWithoutTheLab() {
        print("*** END-TO-END TESTS WERE SKIPPED: they need the lab (scripts/lab up) and REPRISE_LAB=1; scripts/test runs them ***")
    }
}
