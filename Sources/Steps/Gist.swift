internal import RunCore
internal import SSH

/// What a program said of why it failed, for a message: its last lines, without those that it says of every failure.
enum Gist {
    /// How such lines begin, as git, certbot and apt write them.
    static let alwaysSaid = [
        "Please make sure you have the correct access rights", "and the repository exists.", "Some challenges have failed.",
        "Ask for help or search for solutions at https://community.letsencrypt.org", "E: Sub-process /usr/bin/dpkg returned an error code",
    ]
    static let longestLine = 300

    static func lines(of text: String, last count: Int) -> [String] {
        let told = text.split(whereSeparator: \.isNewline).map { String($0).trimmed }.filter { line in !line.isEmpty && !alwaysSaid.contains(where: line.hasPrefix) }
        return told.suffix(count).map { $0.count > longestLine ? $0.prefix(longestLine) + "…" : $0 }
    }

    /// `gist FILE` for scripts: the same of the last four lines, as one.
    static let function = #"""
        gist() {
            sed 's/[[:space:]]*$//; s/^[[:space:]]*//' "$1" | grep -v -e '^$' \#(alwaysSaid.map { "-e \(shellQuoted("^" + $0))" }.joined(separator: " ")) |
                tail -n 4 | cut -c "1-\#(longestLine)" | sed '$!s/$/;/' | paste -sd ' ' -
        }

        """#
}
