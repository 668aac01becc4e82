import PlanModel
import RunCore
import TestSupport
import Testing

@Suite struct GraphTests {
    private func id(_ index: Int) -> StepID { StepID("s\(index)")! }

    private func graph(_ needs: [[Int]]) -> PlanGraph { PlanGraph(needs.enumerated().map { (id($0), $1.map(id)) }) }

    private func plan(_ steps: [(String, [String])], only: [String: RunMode] = [:], finally: [String] = []) -> Plan {
        Plan(
            name: "p",
            steps: steps.map {
                PlanStep(
                    id: StepID($0.0)!, kind: "command", on: ["db1"], needs: $0.1.map { StepID($0)! }, only: only[$0.0])
            },
            finally: finally.map { PlanStep(id: StepID($0)!, kind: "approval") })
    }

    @Test func everyOrderRespectsEveryNeed() throws {
        let seed = seed("everyOrderRespectsEveryNeed")
        var random = SeededGenerator(seed)
        for round in 0..<300 {
            let count = Int.random(in: 1...60, using: &random)
            // Edges go from later to earlier in a hidden order; the steps are then written in another.
            let written = Array(0..<count).shuffled(using: &random)
            var needs = [[Int]](repeating: [], count: count)
            for index in 1..<max(2, count) where index < count {
                needs[written[index]] = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                    written[Int.random(in: 0..<index, using: &random)]
                }
            }
            let graph = graph(needs)
            let order = try #require(graph.topologicalOrder(), "seed \(seed), round \(round)")
            #expect(Set(order).count == count)
            var position: [StepID: Int] = [:]
            for (index, step) in order.enumerated() { position[step] = index }
            for (step, stepNeeds) in needs.enumerated() {
                for need in stepNeeds {
                    #expect(position[id(need)]! < position[id(step)]!, "seed \(seed), round \(round)")
                }
            }
            #expect(graph.cycles().isEmpty)
        }
    }

    @Test func everyCycleIsRealAndNoneIsMissed() {
        let seed = seed("everyCycleIsRealAndNoneIsMissed")
        var random = SeededGenerator(seed)
        for round in 0..<500 {
            let count = Int.random(in: 1...20, using: &random)
            let needs = (0..<count).map { _ in
                (0..<Int.random(in: 0...2, using: &random)).map { _ in Int.random(in: 0..<count, using: &random) }
            }
            let graph = graph(needs)
            let cycles = graph.cycles()
            #expect(cycles.isEmpty == (graph.topologicalOrder() != nil), "seed \(seed), round \(round)")
            for cycle in cycles {
                for (step, next) in zip(cycle, cycle.dropFirst() + [cycle[0]]) {
                    let index = graph.nodes.firstIndex(of: step)!
                    #expect(needs[index].map(id).contains(next), "seed \(seed), round \(round)")
                }
            }
        }
    }

    @Test func twoSeparateCyclesAreBothNamed() {
        let cycles = graph([[1], [0], [3], [2], [0, 2]]).cycles()
        #expect(cycles.count == 2)
        #expect(graph([[1, 3], [2], [1], [4], [3]]).cycles().count == 2)
    }

    @Test func aLongChainNeedsNoDeepStack() {
        let chain = graph((0..<20_000).map { $0 == 0 ? [] : [$0 - 1] })
        #expect(chain.topologicalOrder()?.count == 20_000)
        #expect(graph((0..<20_000).map { [($0 + 1) % 20_000] }).cycles().first?.count == 20_000)
    }

    @Test func aStepOfAnotherModeHandsItsNeedsOn() {
        let plan = plan(
            [("a", []), ("cut", ["a"]), ("cut2", ["cut"]), ("b", ["cut2"]), ("drill", ["b"])],
            only: ["cut": .recovery, "cut2": .recovery, "drill": .drill])
        #expect(
            plan.steps(in: .drill).map { "\($0.id):\($0.needs.map(\.rawValue))" } == [
                #"a:[]"#, #"b:["a"]"#, #"drill:["b"]"#,
            ])
        #expect(plan.steps(in: .recovery).map(\.id.rawValue) == ["a", "cut", "cut2", "b"])
    }

    @Test func drawingsShowWhatRunsSideBySide() {
        let plan = plan(
            [
                ("a", []), ("b", []), ("c", ["b"]), ("d", ["a", "c"]), ("e", ["d"]), ("f", ["d"]), ("g", ["d"]),
                ("h", ["e", "f", "g"]),
            ], finally: ["z"])
        #expect(
            GraphDrawing(plan).text() == """
                ●      a  command   on db1
                │ ●    b  command   on db1
                │ ●    c  command   on db1
                ●─╯    d  command   on db1
                ├─●    e  command   on db1
                ├─┼─●  f  command   on db1
                ● │ │  g  command   on db1
                ●─┴─╯  h  command   on db1
                finally, whatever happened:
                ●      z  approval
                """)
        #expect(!GraphDrawing(plan).text(isASCII: true).unicodeScalars.contains { !$0.isASCII })
        #expect(GraphDrawing(plan).dot().contains(#"  "d" -> "e";"#))
        #expect(GraphDrawing(plan).dot().contains(#"  "h" -> "z" [style=dashed];"#))
        #expect(GraphDrawing(plan).mermaid().contains("  s3 --> s4"))
    }

    @Test func wideGraphsNameTheirNeedsInstead() {
        let wide = plan((0..<40).map { ("s\($0)", []) } + [("end", (0..<40).map { "s\($0)" })])
        #expect(GraphDrawing(wide).text().contains("needs s0, s1, s2"))
    }
}
