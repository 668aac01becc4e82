/// Who somebody is, apart from the process that they use: account, machine, and the address that they came from.
///
/// Two processes of one person are one person; two people who share an account are told apart by where they come from.
package struct Person: Hashable, Sendable {
    /// `anna@bastion`.
    package let account: String
    /// Without the port, which every connection has anew; nil for somebody who sits at the machine.
    package let address: String?

    /// - Parameter summary: as journaled for an operator: `anna@bastion (process 4711, from 192.0.2.7 50022 22)`.
    package init(_ summary: String) {
        let parts = summary.split(separator: " (", maxSplits: 1).map(String.init)
        account = parts.first ?? summary
        guard parts.count == 2, let from = parts[1].firstRange(of: ", from ") else {
            address = nil
            return
        }
        address = parts[1][from.upperBound...].split(whereSeparator: { $0 == " " || $0 == ")" }).first.map(String.init)
    }
}
