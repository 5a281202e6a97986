#!/bin/sh
# Writes the gateway's configuration into a directory, ready for `nginx -p DIR -c nginx.conf`.
#
#   render.sh DIR
#
#   GATEWAY_LISTEN      address and port of the gateway                                        127.0.0.1:8088
#   GATEWAY_TLS_CERTIFICATE, GATEWAY_TLS_KEY   files (PEM); needed where others than this machine call      none
#   GATEWAY_POLICY      instances that follow the shared rollout policy: "host:port host:port"   127.0.0.1:8080
#   GATEWAY_ASYNC       instances started with LEDGER__ROLLOUT__INSTANCE_MODE=async              none
#   GATEWAY_SYNC        the same with sync                                                       none
#   GATEWAY_CANARY      instances of a new release                                               none
#   GATEWAY_OPERATORS   networks whose X-Order-Mode is passed on: "10.1.0.0/16 127.0.0.1"         none
#   GATEWAY_RATE        requests per second of one caller, with a burst of twice that            50
#
# Run again after instances came or went, then `nginx -p DIR -c nginx.conf -s reload`. traffic.conf is left alone when it
# is there: switch.sh owns it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 1 ] || { sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1/temp"
directory=$(cd "$1" && pwd)
rate=${GATEWAY_RATE:-50}

# One failed connection takes an instance out for two seconds; the request that met it goes to another. An instance that is
# down costs a refused connection every two seconds, one that is frozen costs its callers the read time-out.
pool() { # NAME INSTANCES
    echo "upstream $1 {"
    echo "    zone $1 64k;"
    echo "    least_conn;"
    for instance in $2; do
        echo "    server $instance max_fails=1 fail_timeout=2s;"
    done
    # nginx wants a server in each group; switch.sh sends nobody to this one.
    [ -n "$2" ] || echo "    server 127.0.0.1:9 down;"
    echo "    keepalive 32;"
    echo "}"
}

cp "$here/nginx.conf" "$directory/nginx.conf"
listen=${GATEWAY_LISTEN:-127.0.0.1:8088}
if [ -n "${GATEWAY_TLS_CERTIFICATE:-}" ]; then
    echo "listen $listen ssl http2;"
    echo "ssl_certificate $GATEWAY_TLS_CERTIFICATE;"
    echo "ssl_certificate_key ${GATEWAY_TLS_KEY:?is needed with GATEWAY_TLS_CERTIFICATE};"
    echo "ssl_protocols TLSv1.2 TLSv1.3;"
else
    echo "listen $listen;"
fi >"$directory/listen.conf"
{
    pool policy "${GATEWAY_POLICY-127.0.0.1:8080}"
    pool async "${GATEWAY_ASYNC:-}"
    pool sync "${GATEWAY_SYNC:-}"
    pool canary "${GATEWAY_CANARY:-}"
} >"$directory/pools.conf"
{
    echo "geo \$from_operators {"
    echo "    default 0;"
    for network in ${GATEWAY_OPERATORS:-}; do echo "    $network 1;"; done
    echo "}"
} >"$directory/operators.conf"
{
    echo "limit_req_zone \$limited_caller zone=callers:10m rate=${rate}r/s;"
    echo "limit_req zone=callers burst=$((rate * 2)) nodelay;"
    # Many users share an address, and somebody may make up a new token for each request.
    echo "limit_req_zone \$limited_address zone=addresses:10m rate=$((rate * 20))r/s;"
    echo "limit_req zone=addresses burst=$((rate * 40)) nodelay;"
    echo "limit_req_status 429;"
} >"$directory/limits.conf"
[ -e "$directory/traffic.conf" ] || GATEWAY_DIR=$directory "$here/switch.sh" --write policy
