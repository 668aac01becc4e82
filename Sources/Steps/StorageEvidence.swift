internal import RunCore
internal import SSH

/// What a host shows of the storage that a folder lies on: room, how it is mounted, and what the kernel said about its disks.
package struct StorageEvidence: Sendable, Hashable {
    /// Bytes that an unprivileged user may still write; nil where it is not known.
    package private(set) var freeBytes: Int64?
    package private(set) var isReadOnly = false
    /// Kernel names (`sda1`, `dm-0`) of the device and of what it is made of; empty where no block device is known.
    package private(set) var devices: [String] = []
    /// Lines of the kernel's log that tell of failed reads or writes; nil where the log cannot be read.
    package private(set) var kernelErrors: [String]? = []

    /// A script for `sh` that changes nothing; what it prints is read by `init`.
    package static func script(folder: String) -> String {
        """
        set -u
        folder=\(shellQuoted(folder))
        export LC_ALL=C
        free=$(df -PB1 -- "$folder" 2>/dev/null | awk 'NR == 2 { print $4 }')
        [ -z "$free" ] || echo "free $free"
        case ",$(findmnt -no OPTIONS -T "$folder" 2>/dev/null)," in *,ro,*) echo read-only ;; esac
        # The device, the disk that it is a part of, and what a mapped or mirrored one is made of.
        names() {
            [ -e "$1" ] || return 0
            echo "device $(basename "$1")"
            [ ! -e "$1/partition" ] || names "$(dirname "$1")"
            for below in "$1"/slaves/*; do [ ! -e "$below" ] || names "$(readlink -f "$below")"; done
        }
        number=$(findmnt -no MAJ:MIN -T "$folder" 2>/dev/null | tr -d ' ')
        [ -z "$number" ] || [ ! -e "/sys/dev/block/$number" ] || names "$(readlink -f "/sys/dev/block/$number")"
        log=$(mktemp) && trap 'rm -f "$log"' EXIT
        if dmesg >"$log" 2>/dev/null || journalctl -k -b -q --no-pager -o short >"$log" 2>/dev/null || cat /var/log/kern.log >"$log" 2>/dev/null; then
            grep -Ei \(shellQuoted(patterns)) "$log" | tail -n 100 | cut -c1-300 | sed 's/^/kernel /'
        else
            echo kernel-log-unreadable
        fi
        """
    }

    /// What the kernel writes when a disk or the file system on it fails.
    private static let patterns =
        "I/O error|medium error|uncorrect|critical target error|failed command|nvme.*(timeout|controller is down)|EXT4-fs error|XFS.*(corruption|metadata)|remounting filesystem read-only|BTRFS.*(error|corrupt)"

    package init(_ output: String) {
        for line in output.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 1).map(String.init)
            switch (words.first, words.count > 1 ? words[1] : nil) {
            case ("free", let value?): freeBytes = Int64(value)
            case ("read-only", nil): isReadOnly = true
            case ("device", let value?): devices.append(value)
            case ("kernel", let value?): kernelErrors?.append(value)
            case ("kernel-log-unreadable", nil): kernelErrors = nil
            default: break
            }
        }
    }

    /// Lines that name one of the devices as a word of its own: `sda` and not `sdaa`.
    package var errorsOfDevices: [String] {
        (kernelErrors ?? []).filter { line in
            line.split { !($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }.contains { devices.contains(String($0)) }
        }
    }

    // MARK: Judgement

    /// Why nothing may be restored onto this storage; a line for each reason.
    ///
    /// - Parameter copyBytes: what a restored copy takes at least; nil where it is not known.
    package func reasonsAgainst(copyBytes: Int64?) -> [String] {
        var reasons: [String] = []
        if isReadOnly { reasons.append("the file system of the data directory is mounted read-only") }
        let errors = errorsOfDevices
        if let last = errors.last { reasons.append("the kernel's log has \(errors.count) errors of \(devices[0]), the last: \(last)") }
        if let freeBytes, let copyBytes, freeBytes < copyBytes {
            reasons.append("\(megabytes(freeBytes)) are free at the data directory, and a restored copy takes \(megabytes(copyBytes))")
        }
        return reasons
    }

    /// What is not known or not good, and stops nothing.
    package func remarks(copyBytes: Int64?) -> (warnings: [String], notes: [String]) {
        var warnings: [String] = [], notes: [String] = []
        if let kernelErrors {
            if devices.isEmpty, let last = kernelErrors.last {
                warnings.append("the kernel's log has errors of disks, and which disk the data directory lies on is not known; the last: \(last)")
            }
        } else {
            notes.append("the kernel's log cannot be read by the login, so errors of the disk would not be seen")
        }
        if let freeBytes, let copyBytes, freeBytes >= copyBytes, freeBytes / 2 < copyBytes {
            warnings.append("\(megabytes(freeBytes)) are free at the data directory: a restored copy fits, its dump beside it may not")
        }
        return (warnings, notes)
    }

    private func megabytes(_ bytes: Int64) -> String { "\((bytes + 999_999) / 1_000_000) MB" }
}
