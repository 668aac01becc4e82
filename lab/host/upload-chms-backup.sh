#!/bin/bash
# The application's upload into the cloud. DATE names the backup: under the
# time of the upload no file was ever made.
# upload-chms-backup.sh database|files
set -euo pipefail
BACKUP_DIR="/var/backups/chms"
S3_BUCKET="chms-backups"
# Where the store is not Amazon's.
endpoint=()
# shellcheck source=/dev/null
[[ ! -r /etc/chms-backup.conf ]] || . /etc/chms-backup.conf
[[ -z ${S3_ENDPOINT:-} ]] || endpoint=(--endpoint-url "$S3_ENDPOINT")

case ${1:-} in
    database) file="db_${DATE:?}.dump.gz" ;;
    files) file="files_${DATE:?}.tar.gz" ;;
    *)
        echo "usage: DATE=YYYYMMDD_HHMMSS $0 database|files" >&2
        exit 2
        ;;
esac

# Before what it describes, so that no backup is seen without it.
if [[ -e $BACKUP_DIR/$file.json ]]; then
    aws "${endpoint[@]}" s3 cp --no-progress "$BACKUP_DIR/$file.json" "s3://${S3_BUCKET}/$1/$file.json"
fi
aws "${endpoint[@]}" s3 cp --no-progress "$BACKUP_DIR/$file" "s3://${S3_BUCKET}/$1/$file"
