# shellcheck shell=bash
# The object store: a RADOS gateway in the s3 host, with a bucket, a user who
# writes backups and one who may only read them.

S3_PORT=7480
S3_ENDPOINT=http://$(host_ip s3):$S3_PORT
S3_BUCKET=chms-backups
# The same, with versions kept.
S3_VERSIONED_BUCKET=chms-backups-versioned

s3_answers() { curl -fs -m 2 -o /dev/null "$S3_ENDPOINT/"; }

# s3_aws PROFILE ARG…: Debian's aws client, in the s3 host.
s3_aws() {
    local profile=$1
    shift
    in_host s3 env AWS_PROFILE="$profile" aws --endpoint-url "$S3_ENDPOINT" "$@"
}

write_aws_files() {
    mkdir -p "$LAB_DIR/aws"
    chmod 700 "$LAB_DIR/aws"
    # shellcheck disable=SC2154 # read from the secrets file
    (
        umask 077
        cat >"$LAB_DIR/aws/credentials" <<CREDENTIALS
[lab-writer]
aws_access_key_id = $s3_writer_id
aws_secret_access_key = $s3_writer_secret

[lab-reader]
aws_access_key_id = $s3_reader_id
aws_secret_access_key = $s3_reader_secret
CREDENTIALS
    )
    printf '[default]\nregion = us-east-1\n\n[profile %s]\nregion = us-east-1\n\n[profile %s]\nregion = us-east-1\n' \
        lab-writer lab-reader >"$LAB_DIR/aws/config"
}

# Where the machine has less memory the store gets less: half of it, 8 GiB at
# most. It takes what is stored, not what it may hold.
s3_memory_bytes() {
    awk '/^MemTotal:/ {half = $2 * 512; max = 8 * 1024 ^ 3; printf "%d\n", half < max ? half : max}' /proc/meminfo
}

s3_up() {
    local role
    if ! s3_answers; then
        # A start that was killed half-way leaves daemons; the store has nothing
        # to lose then, so it begins again from a cold boot.
        if in_host s3 test -e /run/lab-ceph; then
            cut_host s3
            boot_host s3
        fi
        : >>"$(host_dir s3)/log/start.log"
        put_file s3 /usr/local/sbin/s3-start 755 <"$LAB_SOURCE/host/s3-start"
        in_host s3 /usr/local/sbin/s3-start "$(host_ip s3)" "$S3_PORT" "$(s3_memory_bytes)" \
            </dev/null >>"$(host_dir s3)/log/start.log" 2>&1 \
            || die "the object store did not start" "see $(host_dir s3)/log"
        wait_until 90 "the object store (see $(host_dir s3)/log)" s3_answers
    fi
    put_file s3 /root/.aws/credentials 600 <"$LAB_DIR/aws/credentials"
    put_file s3 /root/.aws/config 644 <"$LAB_DIR/aws/config"
    for role in writer reader; do s3_user "$role"; done
    s3_bucket "$S3_BUCKET"
    s3_bucket "$S3_VERSIONED_BUCKET"
    s3_aws lab-writer s3api put-bucket-versioning --bucket "$S3_VERSIONED_BUCKET" \
        --versioning-configuration Status=Enabled
    ln -sfn "$(host_dir s3)/log" "$LAB_DIR/s3"
}

s3_user() {
    local id="s3_${1}_id" secret="s3_${1}_secret"
    in_host s3 radosgw-admin user info --uid "lab-$1" >/dev/null 2>&1 && return 0
    in_host s3 radosgw-admin user create --uid "lab-$1" --display-name "lab $1" \
        --access-key "${!id}" --secret-key "${!secret}" >/dev/null
}

s3_bucket() {
    s3_aws lab-writer s3api head-bucket --bucket "$1" >/dev/null 2>&1 \
        || s3_aws lab-writer s3api create-bucket --bucket "$1" >/dev/null
    s3_aws lab-writer s3api put-bucket-policy --bucket "$1" --policy "{
        \"Version\": \"2012-10-17\",
        \"Statement\": [{
            \"Effect\": \"Allow\",
            \"Principal\": {\"AWS\": [\"arn:aws:iam:::user/lab-reader\"]},
            \"Action\": [\"s3:GetObject\", \"s3:GetObjectVersion\", \"s3:ListBucket\",
                         \"s3:ListBucketVersions\", \"s3:GetBucketLocation\"],
            \"Resource\": [\"arn:aws:s3:::$1\", \"arn:aws:s3:::$1/*\"]
        }]
    }"
}
