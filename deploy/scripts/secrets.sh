#!/usr/bin/env bash
# Make the secrets that docker-compose.yml mounts, each a file of secrets/; one that is there is kept.
#
#   secrets.sh [FOLDER]
#
# Only who may enter the folder can read them: a container's user must be able to read its file, whatever its number is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=${1:-secrets}
umask 077
mkdir -p "$folder"
chmod 0700 "$folder"

random() { head -c 36 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# keep NAME CONTENT: write a secret, unless there is one.
keep() {
    local file=$folder/$1
    if [ -s "$file" ]; then
        echo "secrets: kept $file"
        return
    fi
    printf '%s' "$2" >"$file.new"
    chmod 0444 "$file.new"
    mv "$file.new" "$file"
    echo "secrets: made $file"
}

# room NAME: an empty file for what a rotation alone fills (docs/runbooks/secrets.md).
room() {
    local file=$folder/$1
    if [ -e "$file" ]; then
        echo "secrets: kept $file"
        return
    fi
    : >"$file"
    chmod 0444 "$file"
    echo "secrets: made $file, empty"
}

keep secret_key "$(random)"
keep token_secret "$(random)"
room secret_key_fallbacks
room token_secret_fallbacks
keep postgres_password "$(random)"
keep redis_password "$(random)"
keep grafana_password "$(random)"
# The files below hold the passwords above: to change one, remove those too.
keep database_url "postgres://clarion:$(<"$folder/postgres_password")@postgres:5432/clarion"
keep redis_url "redis://:$(<"$folder/redis_password")@redis:6379"
keep redis_shards_url "$(printf 'redis://:%s@%s:6379,' $(for host in redis redis-2 redis-3; do echo "$(<"$folder/redis_password") $host"; done) | sed 's/,$//')"
keep redis_primary_url "redis://:$(<"$folder/redis_password")@redis-primary:6379"
keep redis_auth "requirepass $(<"$folder/redis_password")"
