/// The script that sees to it that a host has a usable certificate: what is there, else what was kept, else a new one through ACME.
///
/// POSIX sh, coreutils and openssl, which a bare Debian has with ca-certificates; certbot only where a certificate is issued.
enum CertificateScript {
    static let text = WantedState.words + judging + "\n" + putting + "\n" + main

    /// Whether a certificate and a key can be used for the names.
    private static let judging = #"""
        umask 077
        set -f
        command -v openssl >/dev/null || refuse "openssl is not installed: name it in a packages step before this one"
        names() { printf '%s\n' "$NAMES"; }
        end_of() { openssl x509 -in "$1" -noout -enddate | cut -d= -f2; }
        # CERTIFICATE KEY: why they cannot be used, in $why; empty where they can.
        judge() {
            why=
            for file in "$1" "$2"; do
                [ -e "$file" ] || { why="$file is missing"; return 0; }
            done
            openssl x509 -in "$1" -noout 2>/dev/null || { why="$1 holds no certificate"; return 0; }
            openssl pkey -in "$2" -passin pass: -noout 2>/dev/null || { why="$2 holds no private key that can be read without a password"; return 0; }
            if [ "$(openssl x509 -in "$1" -noout -pubkey)" != "$(openssl pkey -in "$2" -passin pass: -pubout)" ]; then
                why="the key is not the certificate's"
                return 0
            fi
            for name in $(names); do
                case $name in '*.'*) host=reprise-test.${name#'*.'} ;; *) host=$name ;; esac
                openssl x509 -in "$1" -noout -checkhost "$host" | grep -q 'does match' || { why="the certificate is not for $name"; return 0; }
            done
            begin=$(openssl x509 -in "$1" -noout -startdate | cut -d= -f2)
            [ "$(date -d "$begin" +%s)" -le "$(date +%s)" ] || { why="the certificate is not valid before $begin; this host's clock says $(date -u)"; return 0; }
            openssl x509 -in "$1" -noout -checkend 0 >/dev/null || { why="the certificate ended on $(end_of "$1")"; return 0; }
            openssl x509 -in "$1" -noout -checkend "$VALID_FOR" >/dev/null || { why="the certificate ends soon, on $(end_of "$1")"; return 0; }
            [ -z "$CA_FILE" ] || openssl verify -CAfile "$CA_FILE" -untrusted "$1" "$1" >/dev/null 2>&1 || why="$CA_FILE does not lead to the certificate: a part of its chain is missing, or somebody else has signed it"
        }
        """#

    private static let putting = #"""
        trap 'rm -f -- "$KEY.reprise-new" "$CERTIFICATE.reprise-new"' EXIT
        stage() { # CERTIFICATE-TEXT KEY-TEXT: beside their places
            for file in "$KEY" "$CERTIFICATE"; do
                [ -d "${file%/*}/" ] || (umask 022; mkdir -p -- "${file%/*}")
                rm -f -- "$file.reprise-new"
            done
            printf '%s\n' "$2" >"$KEY.reprise-new"
            printf '%s\n' "$1" >"$CERTIFICATE.reprise-new"
        }
        # Two renames. Where only the first one happened the two do not fit, and the next attempt does both again.
        put() {
            give "$KEY.reprise-new" "$KEY_MODE"
            give "$CERTIFICATE.reprise-new" 0644
            sync "$KEY.reprise-new" "$CERTIFICATE.reprise-new"
            mv -fT -- "$KEY.reprise-new" "$KEY"
            mv -fT -- "$CERTIFICATE.reprise-new" "$CERTIFICATE"
            sync -f -- "$CERTIFICATE"
        }
        give() { chown -- "$OWNER:$GROUP" "$1" && chmod -- "$2" "$1"; }
        # Links stay as they are: what they lead to belongs to certbot.
        mend() { # FILE MODE
            [ ! -L "$1" ] || return 0
            [ "$(stat -c '%U:%G %04a' -- "$1")" != "$OWNER:$GROUP $2" ] || return 0
            give "$1" "$2"
            changed "owner or mode of $1"
        }
        link() { # TARGET NAME
            [ "$1" != "$2" ] || return 0
            (umask 022; mkdir -p -- "${2%/*}")
            rm -f -- "$2.reprise-new"
            ln -s -- "$1" "$2.reprise-new"
            mv -fT -- "$2.reprise-new" "$2"
        }
        done_with() {
            mend "$KEY" "$KEY_MODE"
            mend "$CERTIFICATE" 0644
            if [ -z "$CA_FILE" ] && ! openssl verify -untrusted "$CERTIFICATE" "$CERTIFICATE" >/dev/null 2>&1; then
                echo "warning: nobody whom this host trusts has signed the certificate"
            fi
            if [ "$ACME" = 0 ] && ! openssl x509 -in "$CERTIFICATE" -noout -checkend 2592000 >/dev/null; then
                echo "warning: the certificate ends on $(end_of "$CERTIFICATE"), and the plan does not say who issues the next one"
            fi
            echo "evidence: valid until $(end_of "$CERTIFICATE"), for $(names | tr '\n' ' ')"
            exit 0
        }
        """#

    private static let main = #"""
        judge "$CERTIFICATE" "$KEY"
        [ -n "$why" ] || done_with
        before=$why

        # MARK: what was kept
        unusable=
        case $RESTORE in
            secret)
                bundle=$(tr -d '\r')
                stage "$(printf '%s\n' "$bundle" | sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p')" \
                    "$(printf '%s\n' "$bundle" | sed -n '/-BEGIN .*PRIVATE KEY-/,/-END .*PRIVATE KEY-/p')"
                ;;
            folder)
                if [ -e "$RESTORE_FOLDER/fullchain.pem" ] && [ -e "$RESTORE_FOLDER/privkey.pem" ]; then
                    stage "$(cat -- "$RESTORE_FOLDER/fullchain.pem")" "$(cat -- "$RESTORE_FOLDER/privkey.pem")"
                else
                    unusable="$RESTORE_FOLDER has no fullchain.pem and privkey.pem"
                fi
                ;;
        esac
        if [ "$RESTORE" != none ]; then
            if [ -z "$unusable" ]; then
                judge "$CERTIFICATE.reprise-new" "$KEY.reprise-new"
                unusable=$why
            fi
            if [ -z "$unusable" ]; then
                put
                judge "$CERTIFICATE" "$KEY"
                [ -z "$why" ] || { echo "what was put in place cannot be used: $why" >&2; exit 1; }
                changed "restored the certificate ($before)"
                done_with
            fi
            [ "$ACME" = 1 ] || refuse "the certificate that was kept cannot be used: $unusable"
            echo "warning: the certificate that was kept cannot be used, and a new one is issued: $unusable"
        fi
        [ "$ACME" = 1 ] || refuse "$before; and the plan names neither one that was kept (restore-…) nor who issues one (acme)"

        # MARK: a new one
        command -v certbot >/dev/null || refuse "certbot is not installed: name it in a packages step before this one"
        own=${ADDRESSES:-$(hostname -I || :)}
        own=${own% }
        for name in $(names); do
            case $name in '*.'*) refuse "a certificate for $name takes a DNS challenge, which this step does not do: restore one, or issue it by hand" ;; esac
            found=$(getent ahosts "$name" | cut -d' ' -f1 | sort -u | tr '\n' ' ' || :)
            if [ -z "$found" ]; then
                echo "$name has no address in the DNS: point it to $own, then try again" >&2
                exit 1
            fi
            fits=0
            for address in $found; do
                case " $own " in *" $address "*) fits=1 ;; esac
                # What this host says of itself tells nothing of what others are told.
                case $address in 127.* | ::1) fits=1 ;; esac
            done
            if [ "$fits" = 0 ]; then
                echo "$name leads to ${found% }, not to this host ($own): the issuer would ask there. Point it here, or name its address under acme, addresses, then try again" >&2
                exit 1
            fi
        done
        first=$(names | head -n 1)
        set -- certonly --non-interactive --agree-tos --keep-until-expiring --server "$SERVER" --cert-name "$first"
        if [ -n "$EMAIL" ]; then set -- "$@" --email "$EMAIL" --no-eff-email; else set -- "$@" --register-unsafely-without-email; fi
        if [ -n "$WEBROOT" ]; then set -- "$@" --webroot --webroot-path "$WEBROOT"; else set -- "$@" --standalone; fi
        # certbot keeps them for its renewals. What is not there yet, or does not start yet, is a line in its log and no more.
        [ -z "$STOP_SERVICE" ] || set -- "$@" --pre-hook "service $STOP_SERVICE stop" --post-hook "service $STOP_SERVICE start"
        if [ -n "$RELOAD_SERVICE" ]; then
            set -- "$@" --deploy-hook "service $RELOAD_SERVICE reload"
        elif [ -n "$WEBROOT" ]; then
            echo "warning: nothing makes the web server take up what certbot renews: name it under acme, reload-service"
        fi
        for name in $(names); do set -- "$@" --domain "$name"; done
        [ -z "$ACME_CA_FILE" ] || export REQUESTS_CA_BUNDLE="$ACME_CA_FILE"
        (umask 022; certbot "$@" >&2) || { echo "certbot could not issue a certificate for $(names | tr '\n' ' ')" >&2; exit 1; }
        live=/etc/letsencrypt/live/$first
        judge "$live/fullchain.pem" "$live/privkey.pem"
        [ -z "$why" ] || refuse "the certificate that certbot has in $live cannot be used: $why"
        link "$live/privkey.pem" "$KEY"
        link "$live/fullchain.pem" "$CERTIFICATE"
        sync -f -- "$CERTIFICATE"
        judge "$CERTIFICATE" "$KEY"
        [ -z "$why" ] || { echo "what was put in place cannot be used: $why" >&2; exit 1; }
        changed "issued a certificate ($before)"
        done_with
        """#
}
