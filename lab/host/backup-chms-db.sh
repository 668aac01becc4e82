#!/bin/bash
# The application's database backup: a custom-format dump, wrapped in gzip.
# The password stands in /root/.pgpass, as cron needs it.
set -euo pipefail
BACKUP_DIR="/var/backups/chms"
DATE=${DATE:-$(date +%Y%m%d_%H%M%S)}
DB_NAME="chms_production"
DB_USER="chms_user"

mkdir -p "$BACKUP_DIR"

pg_dump -U "$DB_USER" -h localhost -F c -b -v -f "$BACKUP_DIR/db_${DATE}.dump" "$DB_NAME"
gzip "$BACKUP_DIR/db_${DATE}.dump"

# A recovery needs to know which code belongs to this data.
if [[ -s /etc/chms-revision ]]; then
    printf '{"application-revision": "%s", "server-version": "%s", "time": "%s"}\n' "$(cat /etc/chms-revision)" \
        "$(psql -XAtq -U "$DB_USER" -h localhost -d "$DB_NAME" -c 'SHOW server_version_num')" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
        >"$BACKUP_DIR/db_${DATE}.dump.gz.json"
fi

find "$BACKUP_DIR" -name "db_*.dump.gz*" -mtime +30 -delete

echo "$(date): Database backup completed: db_${DATE}.dump.gz" >>/var/log/chms-backup.log
