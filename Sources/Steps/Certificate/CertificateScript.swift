/// The script that sees to it that a host has a usable certificate: what is there, else what was kept, else a new one through ACME.
///
/// POSIX sh, coreutils and openssl, which a bare Debian has with ca-certificates; certbot only where a certificate is issued.
enum CertificateScript {
    static let text = WantedState.words + judging + "\n" + putting + "\n" + renewing + "\n" + main

    /// Whether a certificate and a key can be used for the names.
    private static let judging = #"""
        umask 077
        set -f
        command -v openssl >/dev/null || refuse "openssl is not installed: name it in a packages step before this one"
        # Those whom the host trusts count nothing beside CA_FILE. OpenSSL 1.1.1 has no store of them but files.
        only='-no-CApath'
        if openssl verify -help 2>&1 | grep -q -e -no-CAstore; then only="$only -no-CAstore"; fi
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
            [ -z "$CA_FILE" ] || openssl verify -CAfile "$CA_FILE" $only -untrusted "$1" "$1" >/dev/null 2>&1 || why="$CA_FILE does not lead to the certificate: a part of its chain is missing, or somebody else has signed it"
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
            lineage=$(lineage)
            if [ -n "$lineage" ]; then see_to_hook; else say_who_renews; fi
            echo "evidence: valid until $(end_of "$CERTIFICATE"), for $(names | tr '\n' ' ')${lineage:+, renewed by certbot}"
            exit 0
        }
        """#

    /// What comes after the certificate that is there: certbot renews what is its own, and nothing else.
    private static let renewing = #"""
        CERTBOT=/etc/letsencrypt
        # The name under which certbot renews what is in use; nothing where it does not.
        lineage() {
            command -v certbot >/dev/null || return 0
            find $CERTBOT/renewal -maxdepth 1 -name '*.conf' 2>/dev/null | while IFS= read -r conf; do
                name=${conf##*/} name=${name%.conf}
                if [ "$CERTIFICATE" -ef "$CERTBOT/live/$name/fullchain.pem" ]; then printf '%s' "$name"; break; fi
            done
        }
        # Where the plan names nobody who issues the next one, a person knows it, and is reminded in the last month.
        say_who_renews() {
            nobody="certbot does not renew the certificate, which ends on $(end_of "$CERTIFICATE")"
            if [ "$ACME" = 1 ]; then
                echo "warning: $nobody: it is a copy and no link into $CERTBOT/live. Once the names lead here, take \`restore-…\` out of the plan and $CERTIFICATE away, and run the plan again: then one is issued that is renewed"
            elif ! openssl x509 -in "$CERTIFICATE" -noout -checkend 2592000 >/dev/null; then
                echo "warning: $nobody, and the plan does not say who issues the next one: put it into $CERTIFICATE and $KEY before that day, or give the step \`acme\`"
            else
                echo "evidence: certbot does not renew it; put the next one into $CERTIFICATE and $KEY before it ends, or give the step \`acme\`"
            fi
        }
        # A certificate that was issued before the plan named the service has no hook of its own. Made beside the folder, all of which
        # certbot runs.
        see_to_hook() {
            [ -n "$RELOAD_SERVICE" ] || return 0
            ! grep -qxF "renew_hook = service $RELOAD_SERVICE reload" "$CERTBOT/renewal/$lineage.conf" || return 0
            hook=$CERTBOT/renewal-hooks/deploy/reprise-reload-$RELOAD_SERVICE new=$CERTBOT/renewal-hooks/.reprise-new
            (umask 022; mkdir -p -- "${hook%/*}")
            printf '#!/bin/sh\n# Kept by the plan that recovers this host.\nexec service %s reload\n' "$RELOAD_SERVICE" >"$new"
            chmod 0755 "$new"
            if [ -x "$hook" ] && cmp -s "$new" "$hook"; then rm -f "$new"; return 0; fi
            sync "$new"
            mv -fT -- "$new" "$hook"
            changed "certbot reloads $RELOAD_SERVICE after each renewal"
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
                changed "restored the certificate, valid until $(end_of "$CERTIFICATE") ($before)"
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
