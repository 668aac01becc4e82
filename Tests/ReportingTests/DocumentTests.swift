import Reporting
import Testing

@Suite struct DocumentTests {
    private let hostile = Document(
        title: "<b>title</b>",
        blocks: [
            .heading("# & heading"), .paragraph("line one\nline </p><script>x</script>", .bad), .facts([.init("na<me", "va|lue\u{1B}[0m")]),
            .table(.init([.init("A"), .init("N", isNumber: true)], [.init(["a|b", "1"]), .init(["<\u{301}i>", "22"], .bad)])), .list(["*item*"]),
            .code("```\n$ rm </pre>\n```"),
        ])

    @Test func htmlEscapesAllThatCameFromElsewhere() {
        let html = hostile.html
        #expect(html.contains("<title>&lt;b&gt;title&lt;/b&gt;</title>"))
        #expect(html.contains("line one<br>line &lt;/p&gt;&lt;script&gt;x&lt;/script&gt;"))
        #expect(html.contains("&lt;\u{301}i&gt;"))
        #expect(html.contains("$ rm &lt;/pre&gt;"))
        #expect(!html.contains("<script") && !html.contains("\u{1B}"))
        #expect(html.contains("<td class=\"n\">22</td>"))
    }

    @Test func markdownKeepsItsTablesAndFences() {
        let markdown = hostile.markdown
        #expect(markdown.contains("| a\\|b | 1 |"))
        #expect(markdown.contains("- \\*item\\*"))
        #expect(markdown.contains("````\n```\n$ rm </pre>\n```\n````"))
        #expect(markdown.hasPrefix("# &lt;b&gt;title&lt;/b&gt;\n"))
    }

    @Test func textAlignsNumbersAndHasColourOnlyWhereAsked() {
        let text = hostile.text(style: .plain)
        #expect(text.contains("a|b   1\n"))
        #expect(!text.contains("\u{1B}"))
        #expect(text.hasSuffix("\n"))
        #expect(hostile.text(style: Style(usesColor: true)).contains("\u{1B}[31m"))
    }
}
