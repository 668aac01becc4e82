package import PlanModel
internal import RunCore
internal import SSH

/// Commands that run on a database's host as its superuser, outside of any job: for looking, never for an effect.
extension DatabaseRef {
    /// `command` for the login's shell: as it is where the login is the superuser, else through root or `sudo -n`.
    ///
    /// - Parameter replacingShell: the command takes the place of the shell, so that ending the channel ends it.
    package func asSuperuser(_ command: String, replacingShell: Bool = false) -> String {
        let user = shellQuoted(superuser)
        let exec = replacingShell ? "exec " : ""
        return """
            if [ "$(id -un)" = \(user) ]; then \(exec)\(command); \
            elif [ "$(id -u)" = 0 ]; then \(exec)runuser -u \(user) -- \(command); \
            else \(exec)sudo -n -u \(user) -- \(command); fi
            """
    }

    /// `query` by the host's own psql through the unix socket, as the superuser: one line for each row.
    ///
    /// - Parameter name: the database that is asked.
    package func psql(_ query: String, in name: String = "postgres", separator: Character = "|") -> String {
        asSuperuser(
            "psql -XAtq -F \(shellQuoted(String(separator))) -h \(shellQuoted(socketDirectory)) -p \(port) -U \(shellQuoted(superuser)) "
                + "-d \(shellQuoted(connectionString(name))) -c \(shellQuoted(query))")
    }
}
