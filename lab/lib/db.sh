# shellcheck shell=bash
# shellcheck disable=SC2016 # quoted programs that run elsewhere expand there
# PostgreSQL on the database hosts.

DB_NAME=chms_production
DB_OWNER=chms_user
DB_SEED=chms_seed

# db_sql HOST DATABASE [psql options…]: runs the SQL on standard input as the
# cluster's superuser.
db_sql() {
    local host=$1 database=$2
    shift 2
    in_host "$host" runuser -u postgres -- env PGAPPNAME=lab psql -X -q -v ON_ERROR_STOP=1 -d "$database" "$@"
}

db_answers() { echo 'SELECT 1' | db_sql "$1" postgres; }

# Makes the cluster at the first boot and starts it. Idempotent.
db_cluster_up() {
    local host=$1
    in_host "$host" bash -euc '
        address=$1
        # The mark is set last: a cluster without it was left half-made.
        if [ ! -e /etc/postgresql/15/lab-made ]; then
            rm -rf /etc/postgresql/15/main /var/lib/postgresql/15/main
            pg_createcluster 15 main --locale en_US.UTF-8 -- --data-checksums --no-sync >/dev/null
            touch /etc/postgresql/15/lab-made
        fi
        mkdir -p /etc/postgresql/15/main/conf.d
        grep -q "^include_dir" /etc/postgresql/15/main/postgresql.conf \
            || echo "include_dir = '"'conf.d'"'" >>/etc/postgresql/15/main/postgresql.conf
        cat >/etc/postgresql/15/main/conf.d/lab.conf <<CONF
listen_addresses = '"'localhost,\$address'"'
log_connections = on
log_disconnections = on
log_statement = ddl
log_line_prefix = '"'%m [%p] db=%d user=%u app=%a '"'
max_wal_size = 2GB
CONF
        cat >/etc/postgresql/15/main/pg_hba.conf <<CONF
local all postgres              peer
local all all                   peer
host  all all 127.0.0.1/32      scram-sha-256
host  all all ::1/128           scram-sha-256
host  all all 10.77.0.11/32     scram-sha-256
CONF
        chown -R postgres:postgres /etc/postgresql/15/main/conf.d /etc/postgresql/15/main/pg_hba.conf
        chmod 640 /etc/postgresql/15/main/pg_hba.conf
        echo postgresql >/etc/lab-services
        pg_lsclusters -h | grep -q online || service postgresql start >/dev/null
    ' cluster "$(host_ip "$host")"
    wait_until 60 "PostgreSQL on $host" db_answers "$host"
}

# The application's roles, with the lab's passwords. Idempotent.
db_roles() {
    # shellcheck disable=SC2154 # read from the secrets file
    db_sql "$1" postgres <<SQL
SET log_statement = 'none';
DO \$\$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'chms_user') THEN CREATE ROLE chms_user; END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'chms_readonly') THEN CREATE ROLE chms_readonly; END IF;
END \$\$;
ALTER ROLE chms_user LOGIN PASSWORD '$db_password';
ALTER ROLE chms_readonly LOGIN PASSWORD '$db_readonly_password';
SQL
}

# scale_members SCALE: the number of members that a scale stands for.
scale_members() {
    case $1 in
        small) echo 2000 ;;
        medium) echo 100000 ;;
        *[!0-9]* | '') usage_error "not a scale: $1 (small, medium or a number of members)" ;;
        *)
            (($1 >= 100)) || usage_error "a lab has at least 100 members, not $1"
            echo "$1"
            ;;
    esac
}

# Small databases have three services attended by each member, the largest one:
# benchmarks want tables of equal size.
scale_attendance() { if (($1 >= 1000000)); then echo "$1"; else echo "$(($1 * 3))"; fi; }

# A database is built under this name and renamed when it is whole.
DB_UNFINISHED=chms_unfinished

# db_seed SCALE: makes the seed database anew, then the application's from it.
db_seed() {
    local members attendance
    members=$(scale_members "$1")
    attendance=$(scale_attendance "$members")
    step "seeding $members members, $attendance attendance records"
    db_drop_all
    db_roles db1
    db_sql db1 postgres <<SQL
CREATE DATABASE $DB_UNFINISHED TEMPLATE template0 ENCODING 'UTF8' LOCALE 'en_US.UTF-8' OWNER $DB_OWNER;
SQL
    # As the owner, so that everything belongs to it; extensions of the trusted
    # kind may be made by a database's owner.
    {
        echo "SET ROLE $DB_OWNER;"
        # shellcheck disable=SC2154 # read from the secrets file
        echo "\\set app_key '$app_key'"
        cat "$LAB_SOURCE"/db/{schema,seed,constraints}.sql
    } | db_sql db1 "$DB_UNFINISHED" -v "members=$members" -v "attendance=$attendance" >/dev/null
    echo 'VACUUM (ANALYZE)' | db_sql db1 "$DB_UNFINISHED"
    echo "$1" >"$LAB_DIR/scale"
    db_sql db1 postgres <<SQL
CHECKPOINT;
ALTER DATABASE $DB_UNFINISHED IS_TEMPLATE true ALLOW_CONNECTIONS false;
COMMENT ON DATABASE $DB_UNFINISHED IS '$(db_seed_source)';
ALTER DATABASE $DB_UNFINISHED RENAME TO $DB_SEED;
SQL
    db_from_seed
}

# Drops every database but the cluster's own; with "keep", also not the seed.
db_drop_all() {
    local keep=${1:-}
    in_host db1 runuser -u postgres -- env PGAPPNAME=lab bash -euc '
        query="SELECT datname FROM pg_database WHERE datname NOT IN ('"'postgres','template0','template1'"')"
        [ -z "$1" ] || query="$query AND datname <> '"'\$1'"'"
        psql -X -q -At -d postgres -c "$query" | while IFS= read -r name; do
            quoted="\"${name//\"/\"\"}\""
            psql -X -q -d postgres -v ON_ERROR_STOP=1 \
                -c "ALTER DATABASE $quoted IS_TEMPLATE false" \
                -c "DROP DATABASE $quoted WITH (FORCE)" </dev/null
        done' drop "${keep:+$DB_SEED}"
}

# The application's database as a copy of the seed, with the settings that do
# not travel with a template.
db_from_seed() {
    local strategy=wal_log
    (($(scale_members "$(cat "$LAB_DIR/scale")") <= 20000)) || strategy=file_copy
    db_sql db1 postgres <<SQL
SET client_min_messages = warning;
DROP DATABASE IF EXISTS $DB_UNFINISHED WITH (FORCE);
CREATE DATABASE $DB_UNFINISHED TEMPLATE $DB_SEED OWNER $DB_OWNER STRATEGY $strategy;
ALTER DATABASE $DB_UNFINISHED SET timezone = 'Europe/London';
ALTER DATABASE $DB_UNFINISHED SET statement_timeout = '5min';
ALTER ROLE $DB_OWNER IN DATABASE $DB_UNFINISHED SET lock_timeout = '30s';
ALTER DATABASE $DB_UNFINISHED CONNECTION LIMIT 80;
COMMENT ON DATABASE $DB_UNFINISHED IS 'Church management, production';
REVOKE CONNECT ON DATABASE $DB_UNFINISHED FROM PUBLIC;
GRANT CONNECT ON DATABASE $DB_UNFINISHED TO chms_readonly;
ALTER DATABASE $DB_UNFINISHED RENAME TO $DB_NAME;
SQL
}

# What the seed is made from. A lab that another checkout has seeded is seeded anew at the next `up`.
db_seed_source() { cat "$LAB_SOURCE"/db/{schema,seed,constraints}.sql | sha256sum | cut -d' ' -f1; }

db_seed_is_ours() {
    [[ $(echo "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '$DB_SEED'" | db_sql db1 postgres -At) == "$(db_seed_source)" ]]
}

db_has() { [[ $(echo "SELECT 1 FROM pg_database WHERE datname = '$1'" | db_sql db1 postgres -At) == 1 ]]; }

# db_reset: the application's database as it was seeded, on a server with the
# lab's own settings; a server that does not answer is started again.
db_reset() {
    in_host db1 bash -euc '
        find /etc/postgresql/15/main/conf.d -type f ! -name lab.conf -delete
        rm -f /var/lib/postgresql/15/main/postgresql.auto.conf.tmp'
    if ! timeout 10 "$0" sql db1 postgres -c 'ALTER SYSTEM RESET ALL' -c 'SELECT pg_reload_conf()' >/dev/null 2>&1; then
        in_host db1 bash -uc 'pg_ctlcluster 15 main stop -m immediate --force; rm -f /var/lib/postgresql/15/main/postmaster.pid; service postgresql start' >/dev/null 2>&1 || true
        wait_until 60 "PostgreSQL on db1" db_answers db1
    fi
    db_has "$DB_SEED" || die "there is no seed to go back to" "scripts/lab seed"
    db_drop_all keep
    db_roles db1
    db_from_seed
}
