# shellcheck shell=bash
# shellcheck disable=SC2016 # quoted programs that run elsewhere expand there
# The church-management application on app1.

APP_DIR=/var/www/chms-production/backend

app_answers() { [[ $(app_health) == "$1" ]]; }

app_health() { curl -s -m 5 -o /dev/null -w '%{http_code}' "http://$(host_ip app1)/api/health"; }

# Installs the code where it is not (or is older than this checkout's), and
# brings the application to its seeded state. Idempotent.
app_up() {
    tar -C "$LAB_SOURCE/app" --exclude=./vendor --exclude=./.env -cf - . | in_host app1 bash -euc '
        mkdir -p "$1"
        cd "$1"
        tar -xf - --no-same-owner
        composer --quiet --no-interaction install --optimize-autoloader --no-dev
        chmod +x artisan' app "$APP_DIR"
    put_file app1 /etc/nginx/sites-available/chms 644 <"$LAB_SOURCE/host/nginx-chms.conf"
    in_host app1 bash -euc '
        rm -f /etc/nginx/sites-enabled/default
        ln -sfn ../sites-available/chms /etc/nginx/sites-enabled/chms
        printf "php8.2-fpm\nnginx\n" >/etc/lab-services'
    app_reset
}

# The environment, the uploaded files and the caches as they were seeded; out of
# maintenance; both services running. The same files at every run.
app_reset() {
    # shellcheck disable=SC2154 # read from the secrets file
    put_file app1 "$APP_DIR/.env" 640 <<ENV
APP_ENV=production
APP_DEBUG=false
APP_URL=http://$(host_ip app1)
APP_KEY=$app_key
DB_HOST=$(host_ip db1)
DB_PORT=5432
DB_DATABASE=$DB_NAME
DB_USERNAME=$DB_OWNER
DB_PASSWORD=$db_password
ENV
    in_host app1 bash -euc '
        cd "$1"
        chown root:www-data .env
        find storage/app/public -mindepth 1 ! -name .gitignore -delete
        mkdir -p storage/app/public/uploads/letters
        printf "Welcome to the parish.\n" >storage/app/public/uploads/welcome.txt
        printf "Grüße – 手紙\n" >"storage/app/public/uploads/letters/Grüße und 手紙.txt"
        # Bytes that do not compress, the same each time.
        for i in 1 2 3 4 5; do
            perl -MDigest::SHA=sha512 -e "print sha512(\"\$ARGV[0]:\$_\") for 1 .. 400" "$i" >"storage/app/public/uploads/photo-$i.jpg"
        done
        printf x >storage/app/public/uploads/skipped.tmp
        # Plain deletes: artisan takes 0.1 s for each of these.
        rm -f storage/framework/down storage/framework/maintenance.php bootstrap/cache/*.php
        find storage/framework/{sessions,views,cache/data} -mindepth 1 ! -name .gitignore -delete
        : >storage/logs/laravel.log
        chmod 666 storage/logs/laravel.log
        chown -R www-data:www-data storage bootstrap/cache
        ln -sfn "$1/storage/app/public" public/storage
        for service in php8.2-fpm nginx; do
            service "$service" status >/dev/null 2>&1 || service "$service" start >/dev/null
        done
        service nginx reload >/dev/null
    ' app "$APP_DIR"
    wait_until 30 "the application to answer 200 (see app1:$APP_DIR/storage/logs/laravel.log)" app_answers 200
}
