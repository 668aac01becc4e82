# shellcheck shell=bash
# shellcheck disable=SC2016 # quoted programs that run elsewhere expand there
# What a recovery needs beside the backups: the application's code in a git repository of the s3 host, and the certificate of its name.

SITE_NAME=chms.example.org

# The repository is made anew from this checkout's lab/app. Its commits bear fixed times, so that the same code is the same revision.
# Two of them: what production runs, and a newer one on the default branch, whose migration the database does not have yet.
code_up() {
    local dir=$LAB_DIR/code
    install -d -m 711 "$dir"
    [[ -s $dir/deploy_key ]] || ssh-keygen -q -t ed25519 -N '' -C chms-deploy -f "$dir/deploy_key"
    [[ -z ${SUDO_UID:-} ]] || chown "$SUDO_UID" "$dir/deploy_key"
    in_host s3 bash -euc '
        command -v git >/dev/null && exit 0
        echo "Acquire::http::Proxy \"$1\";" >/etc/apt/apt.conf.d/80proxy
        apt-get -qq update
        apt-get -qq -y install git >/dev/null 2>&1' git "http://$LAB_GATEWAY:$PACKAGES_PORT"
    in_host s3 bash -euc '
        id git >/dev/null 2>&1 || useradd -m -s /usr/bin/git-shell git
        install -d -m 700 -o git -g git /home/git/.ssh
        cat >/home/git/.ssh/authorized_keys
        chown git:git /home/git/.ssh/authorized_keys' keys < <(printf 'restrict %s\n' "$(cat "$dir/deploy_key.pub")")
    tar -C "$LAB_SOURCE/app" --exclude=./vendor --exclude=./.env -cf - . | in_host s3 bash -euc '
        rm -rf /run/lab-code && mkdir -p /run/lab-code && cd /run/lab-code
        tar -xf - --no-same-owner
        export HOME=/root GIT_AUTHOR_NAME=lab GIT_AUTHOR_EMAIL=lab@example.org GIT_COMMITTER_NAME=lab GIT_COMMITTER_EMAIL=lab@example.org
        commit() { GIT_AUTHOR_DATE=$1 GIT_COMMITTER_DATE=$1 git commit -q -m "$2"; }
        git init -q -b main .
        chmod +x artisan
        git add -A
        commit 2026-01-01T00:00:00Z "What production runs"
        git tag production
        cat >database/migrations/2026_02_01_000004_add_nickname_to_members.php <<"PHP"
<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Support\Facades\DB;

return new class extends Migration
{
    public function up()
    {
        DB::statement("ALTER TABLE members ADD COLUMN nickname text");
    }
};
PHP
        git add -A
        commit 2026-02-01T00:00:00Z "Members have a nickname"
        rm -rf /home/git/chms.git
        git clone -q --bare . /home/git/chms.git
        chown -R git:git /home/git/chms.git
        git rev-parse production' code >"$dir/revision.tmp"
    chmod 644 "$dir/revision.tmp"
    mv "$dir/revision.tmp" "$dir/revision"
    # What production runs is noted where its backup finds it.
    put_file db1 /etc/chms-revision 644 <"$dir/revision"
}

# A certificate authority of the lab's own, and the certificate of the application's name with its key: what a recovery restores first.
tls_up() {
    local dir=$LAB_DIR/tls
    openssl x509 -checkend 604800 -noout -in "$dir/fullchain.pem" >/dev/null 2>&1 && return 0
    rm -rf "$dir"
    install -d -m 755 "$dir"
    (
        umask 077
        cd "$dir"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj '/CN=Lab CA' -keyout ca.key -out ca.pem \
            -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,cRLSign
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$SITE_NAME" -keyout key.pem -out site.csr
        openssl x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -out site.pem \
            -extfile <(printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:false\nextendedKeyUsage=serverAuth\n' "$SITE_NAME")
        cat site.pem ca.pem >fullchain.pem
    ) 2>/dev/null
    chmod 644 "$dir/ca.pem"
    [[ -z ${SUDO_UID:-} ]] || chown -R "$SUDO_UID" "$dir"
}
