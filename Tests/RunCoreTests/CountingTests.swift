import RunCore
import Testing

@Suite struct CountingTests {
    @Test func thousandsAreSetApart() {
        #expect(countText(0) == "0")
        #expect(countText(999) == "999")
        #expect(countText(-1_234_567) == "-1,234,567")
        #expect(countText(Int64.min).hasPrefix("-9,223,"))
        #expect(countText(UInt64.max).hasPrefix("18,446,"))
    }

    @Test func oneIsSaidInTheSingular() {
        #expect(counted(1, "step") == "1 step")
        #expect(counted(0, "step") == "0 steps")
        #expect(counted(1000, "step") == "1,000 steps")
        #expect(counted(Int64(2), "row waits", plural: "rows wait") == "2 rows wait")
    }
}
