#!/bin/bash
# The application's backup of the uploaded files.
set -euo pipefail
BACKUP_DIR="/var/backups/chms"
DATE=${DATE:-$(date +%Y%m%d_%H%M%S)}
APP_DIR="/var/www/chms-production"

mkdir -p "$BACKUP_DIR"

# tar takes an --exclude for what follows it; behind the path it excludes nothing.
tar -czf "$BACKUP_DIR/files_${DATE}.tar.gz" --exclude="*.tmp" --exclude="*.cache" \
    -C "$APP_DIR/backend" storage/app/public

find "$BACKUP_DIR" -name "files_*.tar.gz" -mtime +14 -delete

echo "$(date): Files backup completed: files_${DATE}.tar.gz" >>/var/log/chms-backup.log
