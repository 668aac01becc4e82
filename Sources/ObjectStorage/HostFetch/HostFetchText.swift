/// The script that `HostFetchScript` sends to a host: POSIX sh, GNU coreutils and curl 7.70 or later.
///
/// Standard input holds one presigned address a line, for the ranges in order. They stay in variables of the shell, which
/// are in nobody's argument list and in no environment, and reach curl through its standard input.
enum HostFetchText {
    static let body = #"""
        set -u
        umask 077
        export LC_ALL=C
        work="$target.reprise-ranges"
        scratch="$target.reprise-unwrapping"
        parts=$(( (size + range_size - 1) / range_size ))

        fail() { # status, kind, detail
          printf '{"error":"%s","detail":"%s"}\n' "$2" "$3"
          exit "$1"
        }
        length_of() { # range
          last=$(( ($1 + 1) * range_size ))
          if [ "$last" -gt "$size" ]; then last=$size; fi
          printf '%s' "$(( last - $1 * range_size ))"
        }
        size_of() { stat -c %s -- "$1" 2>/dev/null || printf 0; }
        done_bytes() {
          total=0
          for file in "$work"/*.part "$work"/*.tmp; do
            if [ -f "$file" ]; then total=$(( total + $(size_of "$file") )); fi
          done
          printf '%s' "$total"
        }
        header_of() { # file, name in lowercase: the value in the last head of the file
          tr -d '\r' < "$1" | while IFS= read -r line; do
            case "$line" in HTTP/*) printf '\n'; continue ;; esac
            name=$(printf '%s' "${line%%:*}" | tr '[:upper:]' '[:lower:]')
            if [ "$name" = "$2" ]; then value=${line#*:}; printf '%s\n' "${value# }"; fi
          done | tail -n 1
        }
        total_of() { # a Content-Range: the whole size in it; the known one where it tells none
          case "${1##*/}" in
            *[!0-9]* | '') printf '%s' "$size" ;;
            *) printf '%s' "${1##*/}" ;;
          esac
        }
        stop() { # kind, detail: the first one wins, and the other workers end after the range they are at
          # A rename needs no room, so that a full disk can be told too; its reason is then empty.
          if mv -- "$work/armed" "$work/stop" 2>/dev/null; then
            printf '%s %s\n' "$1" "$2" > "$work/why" 2>/dev/null
          fi
          exit 1
        }

        # One attempt at one range. 0: it is there; 1: try again; it stops the worker where nothing can help.
        attempt() { # range, address
          first=$(( $1 * range_size ))
          wanted=$(length_of "$1")
          range="bytes=$first-$(( first + wanted - 1 ))"
          # The whole is asked for as such: there are stores that know no ranges.
          asked=
          if [ "$parts" -ne 1 ]; then asked="header = \"Range: $range\""; fi
          strayed=
          rm -f -- "$work/$1.tmp" "$work/$1.head"
          status=$(printf 'url = "%s"\n%s\n%s\n' "$2" "$asked" "$headers" | curl --disable --config - \
            --silent --globoff --path-as-is --proto '=http,https' --connect-timeout 15 --speed-time "$stall_seconds" \
            --speed-limit "$least_rate" --max-time $(( 60 + wanted / least_rate )) --max-filesize $(( wanted + 65536 )) \
            --output "$work/$1.tmp" --dump-header "$work/$1.head" --write-out '%{http_code}')
          ended=$?
          if [ "$ended" -eq 23 ]; then stop disk-full "curl could not write"; fi
          case "$status" in
            206)
              etag_seen=$(header_of "$work/$1.head" etag)
              if [ -n "$etag_seen" ] && [ "$etag_seen" != "$etag" ]; then stop changed "its ETag is another one"; fi
              sent=$(header_of "$work/$1.head" content-range)
              total=$(total_of "$sent")
              if [ "$total" != "$size" ]; then stop changed "it has $total bytes instead of $size"; fi
              case "$sent" in
                "bytes $first-$(( first + wanted - 1 ))/$size" | "bytes $first-$(( first + wanted - 1 ))/*") ;;
                *)
                  # From the network, and on its way into a line of JSON.
                  strayed="$range was asked for, and \`$(printf '%.60s' "$sent" | tr -cd 'a-z0-9 /*-')\` came"
                  return 1
                  ;;
              esac
              ;;
            200)
              if [ "$parts" -ne 1 ]; then stop ranges-ignored "the store sent the whole where a part was asked for"; fi
              etag_seen=$(header_of "$work/$1.head" etag)
              if [ -n "$etag_seen" ] && [ "$etag_seen" != "$etag" ]; then stop changed "its ETag is another one"; fi
              ;;
            400 | 401 | 403)
              code=$(tr -d '\n' < "$work/$1.tmp" | tail -c 4096 | tr '<' '\n' | while IFS= read -r line; do
                case "$line" in Code\>*) printf '%s' "${line#Code>}" | tr -cd 'A-Za-z0-9' ;; esac
              done)
              case "$code" in RequestTimeout) return 1 ;; esac
              stop expired "HTTP $status $code"
              ;;
            404 | 412) stop changed "HTTP $status" ;;
            416)
              if [ "$parts" -eq 1 ]; then return 1; fi
              total=$(total_of "$(header_of "$work/$1.head" content-range)")
              if [ "$total" != "$size" ]; then stop changed "it has $total bytes instead of $size"; fi
              stop ranges-ignored "HTTP 416 to $range"
              ;;
            *) return 1 ;;
          esac
          if [ "$ended" -ne 0 ] || [ "$(size_of "$work/$1.tmp")" -ne "$wanted" ]; then return 1; fi
          sync "$work/$1.tmp" 2>/dev/null
          mv -f -- "$work/$1.tmp" "$work/$1.part"
        }
        fetch_range() { # range, address
          tries=0
          while ! attempt "$1" "$2"; do
            tries=$(( tries + 1 ))
            if [ "$tries" -gt "$retries" ]; then
              if [ -n "$strayed" ]; then stop wrong-range "$strayed"; fi
              stop unreachable "the last answer was HTTP ${status:-000}, curl ended with $ended"
            fi
            if [ -e "$work/stop" ]; then exit 1; fi
            pause=$(( tries < 5 ? 1 << (tries - 1) : 16 ))
            # What the store asks for is honoured as a least wait, within reason.
            asked=
            if [ -e "$work/$1.head" ]; then asked=$(header_of "$work/$1.head" retry-after); fi
            case "$asked" in
              *[!0-9]* | '') asked=0 ;;
              ? | [1-5]?) ;;
              *) asked=60 ;;
            esac
            if [ "$asked" -gt "$pause" ]; then pause=$asked; fi
            sleep "$pause.$(( ($$ + $1 * 7 + tries * 3) % 10 ))"
          done
          rm -f -- "$work/$1.head"
        }
        worker() { # number: every range of its own stride
          printf '%s\n' "$addresses" | {
            number=0
            while IFS= read -r address; do
              if [ -e "$work/stop" ]; then exit 1; fi
              if [ -n "$address" ] && [ $(( number % workers )) -eq "$1" ] && [ ! -e "$work/$number.part" ]; then
                fetch_range "$number" "$address"
              fi
              number=$(( number + 1 ))
            done
          }
        }

        # The bytes in order, each range as soon as it is there: unwrapping and hashing go along with fetching.
        feed() {
          part=0
          while [ "$part" -lt "$parts" ]; do
            until [ -e "$work/$part.part" ]; do
              if [ -e "$work/stop" ]; then exit 1; fi
              sleep 0.1
            done
            cat -- "$work/$part.part" || exit 1
            part=$(( part + 1 ))
          done
          : > "$work/fed"
        }
        wrapper_of() { # file
          case "$(head -c 6 -- "$1" | od -An -tx1 | tr -d ' \n')" in
            1f8b08*) printf gzip ;;
            28b52ffd*) printf zstd ;;
            fd377a585a00) printf xz ;;
            *) printf none ;;
          esac
        }
        unwrap_stream() { # wrapper
          if [ "$1" = none ]; then cat; else "$1" -dc 2>/dev/null; fi
          printf '%s' "$?" > "$work/unwrap-status"
        }
        assemble() {
          wrapper=none
          if [ "$parts" -gt 0 ]; then
            until [ -e "$work/0.part" ]; do
              if [ -e "$work/stop" ]; then exit 1; fi
              sleep 0.1
            done
            if [ "$unwraps" = yes ]; then wrapper=$(wrapper_of "$work/0.part"); fi
          fi
          if [ "$wrapper" != none ] && ! command -v "$wrapper" >/dev/null; then stop no-program "$wrapper"; fi
          printf '%s' "$wrapper" > "$work/wrapper"
          sha256sum < "$work/wrapped.pipe" > "$work/wrapped.sum" &
          sha256sum < "$work/unwrapped.pipe" > "$work/unwrapped.sum" &
          set -- "$work/wrapped.pipe"
          if [ -n "$expected_md5" ]; then
            md5sum < "$work/md5.pipe" > "$work/md5.sum" &
            set -- "$@" "$work/md5.pipe"
          fi
          feed | tee -p -- "$@" | unwrap_stream "$wrapper" \
            | head -c $(( $(limit_of "$wrapper" "$quota" "$room") + 1 )) \
            | tee -- "$work/unwrapped.pipe" > "$scratch" || stop disk-full "the target could not be written"
          wait
        }

        prepare() {
          if [ -d "$target" ]; then fail 73 bad-target "the target is a folder"; fi
          if ! command -v curl >/dev/null; then fail 72 no-program curl; fi
          if [ "$(cat "$work/identity" 2>/dev/null)" != "$identity" ]; then
            rm -rf -- "$work"
            mkdir -p -- "$work" || fail 73 no-folder "the work folder cannot be made"
            printf '%s\n' "$identity" > "$work/identity"
          fi
          rm -f -- "$work"/*.tmp "$work"/*.head "$work"/*.pipe "$work"/*.sum "$work/stop" "$work/why" "$work/fed" \
            "$work/unwrap-status" "$work/wrapper" "$scratch"
          free=$(df --output=avail -B1 -- "$work" | tail -n 1)
          # What is free once all ranges are there.
          room=$(( free - size + $(done_bytes) ))
          if [ "$room" -lt 0 ]; then fail 73 disk-full "$size bytes are needed, $free are free"; fi
          : > "$work/armed"
          mkfifo -- "$work/wrapped.pipe" "$work/md5.pipe" "$work/unwrapped.pipe" || fail 73 no-folder "the work folder cannot be written"
        }
        watch() { # process ids: tells the progress every second until all have ended, and sees their end sooner
          beat=0
          while :; do
            alive=no
            for process in "$@"; do if kill -0 "$process" 2>/dev/null; then alive=yes; fi; done
            if [ "$alive" = no ] || [ $(( beat % 20 )) -eq 0 ]; then printf 'reprise-progress %s %s\n' "$(done_bytes)" "$size"; fi
            if [ "$alive" = no ]; then return; fi
            sleep 0.05
            beat=$(( beat + 1 ))
          done
        }
        give_up() { # what a worker wrote down
          kind=
          detail=
          if [ -s "$work/why" ]; then read -r kind detail < "$work/why"; fi
          rm -f -- "$scratch"
          case "$kind" in
            expired) fail 75 expired "$detail" ;;
            changed) rm -rf -- "$work"; fail 76 changed "$detail" ;;
            ranges-ignored) rm -rf -- "$work"; fail 78 ranges-ignored "$detail" ;;
            disk-full | '') fail 73 disk-full "${detail:-the disk is full}" ;;
            no-program) fail 72 no-program "$detail" ;;
            wrong-range) fail 79 wrong-range "$detail" ;;
            *) fail 69 unreachable "$detail" ;;
          esac
        }
        conclude() {
          # What a full disk left empty says nothing about the backup.
          set -- wrapper wrapped.sum unwrapped.sum unwrap-status
          if [ -n "$expected_md5" ]; then set -- "$@" md5.sum; fi
          for file in "$@"; do
            if [ ! -s "$work/$file" ]; then
              rm -f -- "$scratch"
              fail 73 disk-full "the work folder could not be written"
            fi
          done
          wrapper=$(cat "$work/wrapper")
          ended=$(cat "$work/unwrap-status")
          read -r sum rest < "$work/wrapped.sum"
          read -r unwrapped_sum rest < "$work/unwrapped.sum"
          unwrapped=$(size_of "$scratch")
          limit=$(limit_of "$wrapper" "$quota" "$room")
          if [ "$unwrapped" -gt "$limit" ]; then
            # Where only the disk is too small, the ranges need not be fetched again.
            rm -f -- "$scratch"
            if [ "$limit" -eq "$quota" ]; then rm -rf -- "$work"; fi
            too_much "$limit" "$quota"
          fi
          # The sums are those of the backup only if all of it was read back.
          if [ ! -e "$work/fed" ]; then
            rm -f -- "$scratch"
            fail 73 disk-full "the ranges could not be read back"
          fi
          if [ -n "$expected" ] && [ "$sum" != "$expected" ]; then
            rm -rf -- "$work" "$scratch"
            fail 65 content-mismatch "SHA-256 $sum"
          fi
          if [ -n "$expected_md5" ]; then
            read -r md5_sum rest < "$work/md5.sum"
            if [ "$md5_sum" != "$expected_md5" ]; then
              rm -rf -- "$work" "$scratch"
              fail 65 content-mismatch "MD5 $md5_sum"
            fi
          fi
          if [ "$ended" -gt 128 ]; then
            rm -f -- "$scratch"
            fail 71 ended "$wrapper was ended by signal $(( ended - 128 ))"
          fi
          if [ "$ended" -ne 0 ]; then
            rm -rf -- "$work" "$scratch"
            fail 74 damaged "$wrapper could not unwrap all of it"
          fi
          sync "$scratch" || fail 73 disk-full "the target could not be flushed"
          mv -f -- "$scratch" "$target" || fail 73 bad-target "the target cannot be renamed to"
          sync "$(dirname -- "$target")"
          rm -rf -- "$work"
          printf '{"bytes":%s,"sha256":"%s","unwrappedBytes":%s,"unwrappedSHA256":"%s","wrapper":"%s"}\n' \
            "$size" "$sum" "$unwrapped" "$unwrapped_sum" "$wrapper"
        }

        addresses=$(cat)
        prepare
        processes=
        number=0
        while [ "$number" -lt "$workers" ]; do
          worker "$number" &
          processes="$processes $!"
          number=$(( number + 1 ))
        done
        assemble &
        processes="$processes $!"
        # Process ids are numbers: splitting is meant.
        # shellcheck disable=SC2086
        watch $processes
        wait
        if [ -e "$work/stop" ]; then give_up; fi
        conclude
        """#
}
