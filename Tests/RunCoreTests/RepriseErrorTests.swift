import RunCore
import Testing

@Suite struct RepriseErrorTests {
    private struct Example: RepriseError {
        let code = "example"
        let message = "host db1 refused the key"
        let hints = ["add the key to authorized_keys", "or name another identity"]
    }

    @Test func hintsFollowTheMessageOnLinesOfTheirOwn() {
        #expect(
            Example().description
                == "host db1 refused the key\nHINT: add the key to authorized_keys\nHINT: or name another identity")
    }
}
