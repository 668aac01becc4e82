package import RunCore

/// How output looks: with or without colour, with or without characters beyond ASCII.
///
/// A value that callers pass on; nothing looks at the environment by itself, so output that is piped is plain for certain.
package struct Style: Sendable, Hashable {
    package var usesColor: Bool
    package var usesUnicode: Bool

    package init(usesColor: Bool, usesUnicode: Bool = true) {
        self.usesColor = usesColor
        self.usesUnicode = usesUnicode
    }

    package static let plain = Style(usesColor: false)

    /// What a piece of text means; the colour follows from it and never carries meaning alone.
    package enum Role: Sendable, Hashable {
        case good, bad, attention, active, faint, strong, normal
    }

    package func paint(_ text: String, _ role: Role) -> String {
        guard usesColor, !text.isEmpty else { return text }
        switch role {
        case .good: return "\u{1B}[32m\(text)\u{1B}[0m"
        case .bad: return "\u{1B}[31m\(text)\u{1B}[0m"
        case .attention: return "\u{1B}[33m\(text)\u{1B}[0m"
        case .active: return "\u{1B}[36m\(text)\u{1B}[0m"
        case .faint: return "\u{1B}[2m\(text)\u{1B}[0m"
        case .strong: return "\u{1B}[1m\(text)\u{1B}[0m"
        case .normal: return text
        }
    }

    package func glyph(_ state: StepState) -> String {
        switch state {
        case .queued: usesUnicode ? "○" : "."
        case .running: usesUnicode ? "▶" : ">"
        case .waiting: "?"
        case .inDoubt: "!"
        case .succeeded: usesUnicode ? "✓" : "+"
        case .failed, .timedOut: usesUnicode ? "✗" : "x"
        case .failedIgnored: "~"
        case .skipped: "-"
        case .cancelled: usesUnicode ? "■" : "#"
        case .undone: usesUnicode ? "↶" : "<"
        }
    }

    /// A bar of `width` characters, `fraction` of it full.
    package func bar(_ fraction: Double, width: Int) -> String {
        let full = Int((min(max(fraction, 0), 1) * Double(width)).rounded(.down))
        return String(repeating: usesUnicode ? "█" : "#", count: full) + String(repeating: usesUnicode ? "░" : "-", count: width - full)
    }

    /// One picture of a turning wheel.
    package func spinner(_ turn: Int) -> String {
        let pictures = usesUnicode ? ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] : ["|", "/", "-", "\\"]
        return pictures[turn % pictures.count]
    }
}

extension StepState {
    package var role: Style.Role {
        switch self {
        case .queued, .skipped: .faint
        case .running: .active
        case .waiting, .inDoubt, .failedIgnored, .undone: .attention
        case .succeeded: .good
        case .failed, .timedOut, .cancelled: .bad
        }
    }

    /// The state as people say it.
    package var word: String {
        switch self {
        case .queued: "queued"
        case .running: "running"
        case .waiting: "waiting for a person"
        case .inDoubt: "in doubt"
        case .succeeded: "done"
        case .failed: "failed"
        case .failedIgnored: "failed, ignored"
        case .timedOut: "timed out"
        case .skipped: "skipped"
        case .cancelled: "cancelled"
        case .undone: "undone"
        }
    }
}

/// The role of a run's shown state: a `RunState` or `INTERRUPTED`.
package func role(ofRunState state: String) -> Style.Role {
    guard let known = RunState(rawValue: state) else { return .attention }
    switch known {
    case .accepted, .running, .pausing, .cancelling, .undoing: return .active
    case .waiting, .paused, .succeededWithWarnings, .undone: return .attention
    case .cancelled, .failed: return .bad
    case .succeeded: return .good
    }
}
