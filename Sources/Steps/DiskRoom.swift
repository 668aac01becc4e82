internal import RunCore
internal import SSH

/// What one step will put on a disk of a host, in bytes.
package struct DiskLoad: Hashable, Sendable {
    package let step: String
    package let folder: String
    /// What stays of it, at the very least.
    package let kept: Int64
    /// What it takes while the step works, at the very least.
    package let peak: Int64
    package let usual: Int64

    package init(step: String, folder: String, kept: Int64, peak: Int64, usual: Int64) {
        (self.step, self.folder, self.kept, self.peak, self.usual) = (step, folder, kept, peak, usual)
    }
}

/// A disk of a host, and all that will lie on it: folders that share a disk share its room.
package struct DiskRoom: Hashable, Sendable {
    package private(set) var loads: [DiskLoad]
    package let free: Int64

    /// Less cannot do: all stays, and the largest of them has to be made.
    package var least: Int64 { max(loads.reduce(0) { $0 + $1.kept }, loads.map(\.peak).max() ?? 0) }
    package var usual: Int64 { loads.reduce(0) { $0 + $1.usual } }
    package var folders: [String] { unique(loads.map(\.folder)) }
    package var steps: [String] { unique(loads.map(\.step)) }

    private func unique(_ names: [String]) -> [String] { names.enumerated().filter { names.firstIndex(of: $1) == $0 }.map(\.element) }

    /// For sh: one line for each folder, the name of the disk that it is on, or will be, and the kilobytes that are free there.
    ///
    /// A device that is mounted twice is one disk, and so are the parts of a btrfs. What has no device has a number of its own.
    package static func question(_ loads: [DiskLoad]) -> String {
        "for p in \(loads.map { shellQuoted($0.folder) }.joined(separator: " ")); do "
            + #"while [ ! -e "$p" ]; do p=$(dirname -- "$p"); done; "#
            + #"df -Pk -- "$p" | awk -v number="$(stat -c %d -- "$p")" 'NR == 2 { print ($1 ~ /^\/dev\// ? $1 : number), $4 }'; done"#
    }

    /// The disks, in the order of the loads; none for a folder of which the host could not tell.
    package static func disks(of loads: [DiskLoad], answer: String) -> [DiskRoom] {
        var disks: [DiskRoom] = [], places: [Substring: Int] = [:]
        for (load, line) in zip(loads, answer.split(separator: "\n", omittingEmptySubsequences: false)) {
            let words = line.split(separator: " ")
            guard words.count == 2, let free = Int64(words[1]) else { continue }
            if let place = places[words[0]] {
                disks[place].loads.append(load)
            } else {
                places[words[0]] = disks.count
                disks.append(DiskRoom(loads: [load], free: free * 1024))
            }
        }
        return disks
    }
}
