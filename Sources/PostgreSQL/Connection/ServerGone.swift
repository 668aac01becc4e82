/// What PostgreSQL's own programs say where the server was stopped, restarted or ended under them: another try may go better.
package enum ServerGone {
    private static let starting = [
        "the database system is starting up", "the database system is in recovery mode", "the database system is not yet accepting connections",
    ]
    private static let phrases = starting + [
        "the database system is shutting down",
        "terminating connection due to administrator command", "terminating connection because of crash of another server process",
        "server closed the connection unexpectedly", "could not connect to server", "no connection to the server",
        "Is the server running",
    ]

    /// Whether the server is there and will answer by itself, however long that takes.
    static func isStarting(in text: String) -> Bool { starting.contains { text.contains($0) } }

    /// - Parameter text: what a program wrote in the C locale, of one line or of many.
    package static func isSaid(in text: String) -> Bool { phrases.contains { text.contains($0) } }
}
