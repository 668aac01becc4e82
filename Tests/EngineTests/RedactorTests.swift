import Foundation
import Journal
import RunCore
import Testing

@testable import Engine

@Suite struct RedactorTests {
    @Test func aSecretIsFoundInEveryFormInWhichItTravels() throws {
        let secret = "p%w\"'$x\\y/z=="
        let redactor = Redactor()
        redactor.register(secret)
        let base64 = Data(secret.utf8).base64EncodedString()
        let percent = secret.addingPercentEncoding(withAllowedCharacters: .alphanumerics)!
        let inside = Data(("user:" + secret).utf8).base64EncodedString()
        for text in ["before \(secret) after", "x\(base64)", "q=\(percent)&r"] {
            #expect(!redactor.redact(text).contains(secret))
            #expect(redactor.redact(text).contains(Redactor.mark), "\(text)")
        }
        #expect(redactor.redact("Authorization: Basic \(inside)").contains(Redactor.mark))
    }

    @Test func eventsAreJournaledWithoutSecrets() throws {
        let redactor = Redactor()
        redactor.register("hunter2-hunter2")
        let step = StepID("a")!
        let event = RunEvent.attemptSucceeded(
            AttemptSucceeded(step: step, attempt: 1, evidence: ["tail": "password is hunter2-hunter2"], outputs: ["o": ["hunter2-hunter2"]]))
        let clean = try redactor.redact(event)
        let text = String(decoding: try EventCodec.entry(clean).payload, as: UTF8.self)
        #expect(!text.contains("hunter2"))
        #expect(text.contains(Redactor.mark))
    }

    @Test func anEventWithoutSecretsIsLeftAsItIs() throws {
        let redactor = Redactor()
        redactor.register("hunter2-hunter2")
        let event = RunEvent.pauseRequested(OperatorWord(by: "anna", reason: "lunch"))
        #expect(try redactor.redact(event) == event)
    }

    @Test func aValueTooShortToBeASecretDoesNotRuinTheText() {
        let redactor = Redactor()
        redactor.register("a")
        #expect(redactor.redact("a banana") == "a banana")
    }
}
