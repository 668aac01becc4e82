/// `script` as a command for a login's shell, with the rights that the host's jobs have.
///
/// - Parameter becomesRoot: where the login is not root it is raised by `sudo -n`, around the whole script: sudo closes what a shell
///   has opened. Through `env`, which is what a sudoers file for Reprise has to allow already.
package func rootShell(_ script: String, becomesRoot: Bool) -> String {
    let shell = "sh -c \(shellQuoted(script))"
    guard becomesRoot else { return shell }
    return "if [ \"$(id -u)\" = 0 ]; then \(shell); else sudo -n -- env \(shell); fi"
}
