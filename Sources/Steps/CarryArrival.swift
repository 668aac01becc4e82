internal import ObjectStorage
internal import RunCore
internal import SSH

/// The script that ends a carry-over on its host: it checks what arrived, unwraps it, and gives it its name.
///
/// It prints what a fetch on the host itself prints, so that both are read by the same code.
enum CarryArrival {
    /// - Parameters:
    ///   - upload: what was carried. It stays where the disk is full, so that it need not be carried again.
    ///   - sha256: of what was sent.
    ///   - quotaBytes: what the plan allows to come out of it; see `UnwrapLimit`.
    static func script(upload: String, target: String, sha256: String, quotaBytes: Int64) -> String {
        #"""
        set -u
        # Until it has its owner, nobody else reads it.
        umask 077
        upload=\#(shellQuoted(upload)); target=\#(shellQuoted(target)); expected=\#(sha256); quota=\#(quotaBytes)
        scratch="$target.reprise-unwrapping"
        fail() { printf '{"error":"%s","detail":"%s"}\n' "$2" "$3"; exit "$1"; }
        \#(UnwrapLimit.shell)
        found=$(sha256sum < "$upload" | cut -d ' ' -f 1)
        [ "$found" = "$expected" ] || { rm -f -- "$upload"; fail 65 content-mismatch "SHA-256 $found"; }
        case $(head -c 6 -- "$upload" | od -An -tx1 | tr -d ' \n') in
          1f8b*) wrapper=gzip ;; 28b52ffd*) wrapper=zstd ;; fd377a585a00) wrapper=xz ;; *) wrapper=none ;;
        esac
        bytes=$(stat -c %s -- "$upload")
        rm -f -- "$scratch"
        limit=$(limit_of "$wrapper" "$quota" "$(df --output=avail -B1 -- "$upload" | tail -n 1)")
        if [ "$wrapper" = none ]; then
          if [ "$bytes" -gt "$limit" ]; then rm -f -- "$upload"; too_much "$limit" "$quota"; fi
          sync -- "$upload" && mv -f -- "$upload" "$target" || fail 73 disk-full "cannot rename"
        else
          command -v "$wrapper" >/dev/null || fail 72 no-program "$wrapper"
          # One reads and one writes, so that a full disk is not taken for a damaged backup. How they ended comes over a pipe: on a full
          # disk it could not be written down.
          ended=$({ { "$wrapper" -dc < "$upload"; echo "$?" >&3; } | head -c $(( limit + 1 )) > "$scratch" || echo full >&3; } 3>&1 2>/dev/null)
          case "$ended" in *full*) rm -f -- "$scratch"; fail 73 disk-full "there is no room to unwrap it" ;; esac
          if [ "$(stat -c %s -- "$scratch")" -gt "$limit" ]; then
            rm -f -- "$scratch"
            if [ "$limit" -eq "$quota" ]; then rm -f -- "$upload"; fi
            too_much "$limit" "$quota"
          fi
          if [ "$ended" -gt 128 ]; then rm -f -- "$scratch"; fail 71 ended "$wrapper was ended by signal $(( ended - 128 ))"; fi
          if [ "$ended" -ne 0 ]; then rm -f -- "$scratch" "$upload"; fail 74 damaged "$wrapper cannot unwrap it"; fi
          sync -- "$scratch" && mv -f -- "$scratch" "$target" || { rm -f -- "$scratch"; fail 73 disk-full "cannot write"; }
          rm -f -- "$upload"
        fi
        printf '{"bytes":%s,"sha256":"%s","unwrappedBytes":%s,"unwrappedSHA256":"%s","wrapper":"%s"}\n' "$bytes" "$expected" \
          "$(stat -c %s -- "$target")" "$(sha256sum < "$target" | cut -d ' ' -f 1)" "$wrapper"
        """#
    }
}
