/// The script that brings a folder to one exact revision of a repository: POSIX sh, coreutils, git, and OpenSSH's agent for a key.
///
/// The outer part runs as the ledger's account: it makes the folder and sees who else works in it. The inner part runs as the account to
/// whom the folder belongs, with a key only in the memory of an agent that ends with it.
enum GitCheckoutScript {
    static let text = "inner=$(cat <<'REPRISE_INNER'\n" + WantedState.words + inner + "\nREPRISE_INNER\n)\n" + WantedState.words + outer

    private static let outer = #"""
        umask 022
        command -v git >/dev/null || refuse "git is not installed: name it in a packages step before this one"
        me=$(id -un)
        account=${AS:-$me}
        id -u -- "$account" >/dev/null 2>&1 || refuse "this host has no account $account"
        if [ ! -d "$INTO" ]; then
            install -d -m 0755 -o "$account" -g "$(id -gn -- "$account")" -- "$INTO" || refuse "cannot make the folder $INTO"
        fi
        [ "$(stat -Lc %U -- "$INTO")" = "$account" ] || refuse "$INTO belongs to $(stat -Lc %U -- "$INTO"), not to $account: name that account under as"
        # Who else is at work here: git processes whose folder is this one.
        BUSY=
        place=$(readlink -f -- "$INTO")
        for process in /proc/[0-9]*; do
            { read -r name <"$process/comm"; } 2>/dev/null || continue
            case $name in git*) ;; *) continue ;; esac
            case $(readlink "$process/cwd" 2>/dev/null)/ in "$place"/*) BUSY="$BUSY ${process#/proc/}" ;; esac
        done
        WORK=$(mktemp -d /tmp/reprise-git.XXXXXXXXXX)
        trap 'rm -rf -- "$WORK"' EXIT
        [ -z "$KNOWN_HOSTS" ] || printf '%s\n' "$KNOWN_HOSTS" >"$WORK/known_hosts"
        [ "$account" = "$me" ] || chown -R -- "$account" "$WORK"
        export BUSY WORK
        set -- sh -eu -c "$inner"
        [ "$HAS_KEY" = 0 ] || set -- ssh-agent "$@"
        if [ "$account" != "$me" ]; then
            HOME=$(getent passwd -- "$account" | cut -d: -f6)
            export HOME USER="$account" LOGNAME="$account"
            set -- runuser -u "$account" -- "$@"
        fi
        status=0
        "$@" || status=$?
        exit "$status"
        """#

    private static let inner = #"""
        cd "$INTO"
        export LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_ALLOW_PROTOCOL=file:git:http:https:ssh GIT_OPTIONAL_LOCKS=0
        export GIT_DIR="$INTO/.git" GIT_WORK_TREE="$INTO"
        ssh='ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ForwardAgent=no'
        [ -z "$KNOWN_HOSTS" ] || ssh="$ssh -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile=$WORK/known_hosts"
        if [ "$HAS_KEY" = 1 ]; then
            trap 'kill "$SSH_AGENT_PID"' EXIT
            ssh-add -q - 2>"$WORK/said" || refuse "the deploy key cannot be used: $(gist "$WORK/said")"
            ssh="$ssh -o IdentityFile=none"
        fi
        export GIT_SSH_COMMAND="$ssh"
        [ -z "$CA_FILE" ] || export GIT_SSL_CAINFO="$CA_FILE"
        g() { git -c core.hooksPath=/dev/null -c advice.detachedHead=false -c gc.auto=0 -c core.fsmonitor=false "$@"; }
        # At most five names, on one line.
        some() {
            printf '%s' "$(printf '%s\n' "$1" | head -n 5 | sed '$!s/$/,/' | paste -sd ' ' -)"
            [ "$(printf '%s\n' "$1" | wc -l)" -le 5 ] || printf ', …'
        }

        [ ! -f .git ] || refuse "$INTO/.git is a file: this is a part of another repository"
        if [ -d .git ] && [ "$(stat -c %U .git)" != "$(id -un)" ]; then
            refuse "$INTO/.git belongs to $(stat -c %U .git), not to $(id -un): name that account under as"
        fi
        case $KIND in
            tag) name=refs/tags/$REVISION; git check-ref-format "$name" || refuse "$REVISION is neither a full hash nor the name of a tag" ;;
            *) name=$REVISION ;;
        esac
        # Written before files are, and gone when all are there: what stands half-made is ours, and no work of anybody's.
        marker=.git/reprise-checkout
        ours=0
        [ ! -e "$marker" ] || ours=1

        commit() { g rev-parse -q --verify "$name^{commit}" 2>/dev/null || :; }
        current() { g rev-parse -q --verify 'HEAD^{commit}' 2>/dev/null || :; }
        modified() { g status --porcelain --untracked-files=no --ignore-submodules=all | sed 's/^...//'; }
        found() {
            [ ! -f .gitmodules ] || echo "warning: the repository has submodules, which are not checked out"
            ! grep -qs 'filter=lfs' .gitattributes || echo "warning: the repository keeps files in LFS, which are not fetched"
            echo "evidence: revision $(current)"
        }

        before= wanted= different= origin=
        if [ -d .git ]; then
            before=$(current) wanted=$(commit) origin=$(g config --get remote.origin.url || :)
            [ -z "$before" ] || different=$(modified)
            if [ "$ours" = 0 ] && [ -n "$wanted" ] && [ "$before" = "$wanted" ] && [ -z "$different" ] && [ "$origin" = "$REPOSITORY" ]; then
                found
                exit 0
            fi
        fi
        if [ -n "$different" ] && [ "$ours" = 0 ] && [ "$DISCARD" = 0 ]; then
            refuse "$(printf '%s\n' "$different" | wc -l) files in $INTO are not as revision $before has them: $(some "$different"); save them, or say discard: true"
        fi

        locks=$(find .git -name '*.lock' ! -path '.git/objects/*' 2>/dev/null || :)
        if [ -n "$locks" ]; then
            [ -z "$BUSY" ] || { echo "another git is at work in $INTO (process$BUSY)" >&2; exit 1; }
            find .git -name '*.lock' ! -path '.git/objects/*' -delete
            echo "warning: removed what a git that was killed had locked in $INTO"
        fi
        [ -f .git/HEAD ] && [ -f .git/config ] || g init -q
        if [ "$origin" != "$REPOSITORY" ]; then
            g config --replace-all remote.origin.url "$REPOSITORY"
            g config --replace-all remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
            [ -z "$origin" ] || changed "the repository that it comes from"
        fi

        # MARK: fetching
        fetch() { # REFERENCES…; what it says goes into a file
            if [ "$DEPTH" = 0 ]; then g fetch -q origin "$@" 2>"$WORK/said"; else g fetch -q --depth "$DEPTH" origin "$@" 2>"$WORK/said"; fi
        }
        not_fetched() {
            cat "$WORK/said" >&2
            case $(cat "$WORK/said") in
                *'Host key verification failed'*) refuse "the repository's host shows a host key that is not known here: put its line under known-hosts, after a look at it" ;;
                *'Permission denied'* | *'could not read Username'* | *'Authentication failed'*) refuse "the repository lets us in no further: $(gist "$WORK/said")${KEY_NAME:+; the key is the secret $KEY_NAME: let its public half read there, or store the right one}" ;;
                *'not allowed'*) refuse "$(gist "$WORK/said")" ;;
            esac
            exit 1
        }
        if [ -z "$wanted" ]; then
            if [ "$KIND" = tag ]; then
                fetch "$name:$name" || {
                    tags=$(g ls-remote origin "$name" 2>"$WORK/said") || not_fetched
                    [ -n "$tags" ] || refuse "the repository has no tag $REVISION; branches move, and are not taken"
                    fetch "$name:$name" || not_fetched
                }
            else
                # Not every server gives a single commit away.
                fetch "$REVISION" || fetch '+refs/heads/*:refs/remotes/origin/*' || not_fetched
            fi
            wanted=$(commit)
            [ -n "$wanted" ] || refuse "the repository has no commit $REVISION on any of its branches"
            changed "fetched $wanted"
        fi

        # MARK: checking out
        force=
        [ "$ours" = 0 ] && [ "$DISCARD" = 0 ] || force=-f
        if [ -z "$before" ]; then
            g read-tree "$wanted"
            g update-index -q --refresh >/dev/null || :
            obstacles=$(g diff-files --name-only --diff-filter=MTU)
            if [ -n "$obstacles" ] && [ -z "$force" ]; then
                refuse "$(printf '%s\n' "$obstacles" | wc -l) files are in $INTO already, otherwise than in revision $wanted: $(some "$obstacles"); move them, or say discard: true"
            fi
            : >"$marker"
            g checkout-index -a -q -u $force || { echo "not all files could be written to $INTO" >&2; exit 1; }
            g update-ref --no-deref HEAD "$wanted"
        else
            : >"$marker"
            g checkout -q --detach $force "$wanted" -- 2>"$WORK/said" || {
                [ "$ours" = 1 ] || rm -f "$marker"
                cat "$WORK/said" >&2
                case $(cat "$WORK/said") in
                    *'would be overwritten'*) refuse "files that git does not know are in $INTO where revision $wanted has its own: $(some "$(sed -n 's/^\t//p' "$WORK/said")"); move them, or say discard: true" ;;
                esac
                exit 1
            }
        fi
        [ "$(current)" = "$wanted" ] || { echo "$INTO is at $(current), not at $wanted" >&2; exit 1; }
        left=$(modified)
        [ -z "$left" ] || { echo "after the checkout files are not as they should be: $(some "$left")" >&2; exit 1; }
        sync -f -- "$INTO"
        rm -f "$marker"
        changed "checked out $wanted${before:+ (before: $before)}"
        found
        """#
}
