/// How much may come out of a wrapped backup. An honest one unwraps to a few times its size, a decompression bomb to whatever the disk holds.
///
/// No more than the plan says, and no more than is free once the wrapped backup is there; where the plan says nothing, half of that: what is
/// done with it next takes as much again, and others write on that disk meanwhile. What is not wrapped is as large as it is known to be: of
/// it only the plan decides.
package enum UnwrapLimit {
    private static let shares: Int64 = 2

    /// On this machine, where no plan says anything.
    /// - Parameter freeBytes: on the target's disk; nil where nobody knows.
    package static func bytes(freeBytes: Int64?) -> Int64 {
        freeBytes.map { max(0, $0) / shares } ?? .max
    }

    /// On hosts, for sh: `limit_of WRAPPER MOST FREE` prints it, `too_much LIMIT MOST` ends the script and says who allows no more.
    package static let shell = #"""
        limit_of() { # wrapper, most bytes, free bytes
          limit=$2
          most=$3
          if [ "$2" -ge \#(HostFetchScript.unlimitedBytes) ]; then most=$(( $3 / \#(shares) )); fi
          if [ "$1" != none ] && [ "$most" -lt "$limit" ]; then limit=$most; fi
          printf '%s' "$limit"
        }
        too_much() { # limit, most bytes
          if [ "$2" -ge \#(HostFetchScript.unlimitedBytes) ]; then fail 80 no-room "more than $1 bytes come out of it, half of what is free there"; fi
          if [ "$1" -lt "$2" ]; then fail 80 no-room "more than $1 bytes come out of it, all that is free there"; fi
          fail 77 quota "more than $1 bytes come out of it"
        }
        """#
}
