import Foundation
import Testing

@testable import ObjectStorage

@Suite struct HTTPSessionTests {
    @Test func formsAreEncodedByteByByte() {
        #expect(Percent.encode("a-Z_0.9~") == "a-Z_0.9~")
        #expect(Percent.encode("a b&c=d+%\n\"é") == "a%20b%26c%3Dd%2B%25%0A%22%C3%A9")
    }

    @Test(arguments: [
        ("192.0.2.1", "::192.0.2.1:"), ("192.0.2.1:8443", "::192.0.2.1:8443"), ("new1", "::new1:"), ("2001:db8::1", "::[2001:db8::1]:"),
        ("[2001:db8::1]", "::[2001:db8::1]:"), ("[2001:db8::1]:8443", "::[2001:db8::1]:8443"),
    ])
    func anAddressStandsForAnyHostAndPort(address: String, option: String) { #expect(HTTPSession.connection(address) == option) }

    @Test func theEndOfACertificateIsReadAsOpenSSLWritesIt() throws {
        #expect(HTTPSession.date("Feb 25 00:55:34 2027 GMT") == (try Date("2027-02-25T00:55:34Z", strategy: .iso8601)))
        #expect(HTTPSession.date(" Nov  7 10:00:00 2026 GMT") == (try Date("2026-11-07T10:00:00Z", strategy: .iso8601)))
        for text in ["", "2027-02-25", "Feb 25 00:55:34 2027 CET", "Foo 25 00:55:34 2027 GMT", "Feb 25 00:55 2027 GMT"] {
            #expect(HTTPSession.date(Substring(text)) == nil)
        }
    }
}
