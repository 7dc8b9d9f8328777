#!/usr/bin/env bash
# Make the secrets of this overlay, once: files of secrets/, which git ignores. Those that are there are kept.
#
#   secrets.sh [FOLDER]
set -euo pipefail
folder=${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}
umask 077
mkdir -p "$folder"
if [ -e "$folder/clarion.env" ]; then
    echo "secrets: kept $folder"
    exit 0
fi

random() { head -c 36 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# What Clarion's services send to Redis and their scripts call, and nothing of @admin or @dangerous. A Django service of
# your own that uses clarion.publish or the pub/sub layer needs no more. k8s/tests holds it against the code.
readonly CONNECTION="+auth +hello +ping +select +client|setinfo +client|setname"
readonly PUBSUB="+publish +subscribe +unsubscribe"
readonly SCRIPTS="+eval +evalsha +script|load +time"
readonly KEYS="+del +exists +expire +pexpire +pttl +unlink +get +set"
readonly HASHES="+hdel +hexists +hget +hincrby +hmget +hscan +hset"
readonly SETS="+sadd +spop +srem +sscan +zadd +zrange +zrangebyscore +zrem +zscore"
readonly STREAMS="+xadd +xrange +xrevrange"

redis=$(random) postgres=$(random)
printf '%s' "$postgres" >"$folder/postgres-password"
# `asgi`: CLARION_LAYER_PREFIX, of which every name is made; another prefix needs `~another* &another*`. `reset`: whatever a server's defaults grant, it is not kept.
cat >"$folder/users.acl" <<ACL
user default off
user probe reset on nopass +ping
user admin reset on >$(random) ~* &* +@all
user clarion reset on >$redis ~asgi* &asgi* $CONNECTION $PUBSUB $SCRIPTS $KEYS $HASHES $SETS $STREAMS
ACL

# Last: it says that all is there.
cat >"$folder/clarion.env" <<ENV
CLARION_SECRET_KEY=$(random)
CLARION_TOKEN_SECRET=$(random)
DATABASE_URL=postgres://clarion:$postgres@postgres:5432/clarion
CLARION_REDIS_URL=redis://clarion:$redis@redis:6379
ENV
echo "secrets: made $folder"
