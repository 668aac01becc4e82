/// What PostgreSQL's own programs say where the server was stopped, restarted or ended under them: another try may go better.
package enum ServerGone {
    private static let phrases = [
        "the database system is starting up", "the database system is shutting down", "the database system is in recovery mode",
        "terminating connection due to administrator command", "terminating connection because of crash of another server process",
        "server closed the connection unexpectedly", "could not connect to server", "no connection to the server",
        "Is the server running",
    ]

    /// - Parameter text: what a program wrote in the C locale, of one line or of many.
    package static func isSaid(in text: String) -> Bool { phrases.contains { text.contains($0) } }
}
