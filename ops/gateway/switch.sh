#!/bin/sh
# Says where the traffic goes, while the gateway runs: writes traffic.conf, has nginx check it, reloads, and returns when it
# is in force. No request is cut: those under way end where they began. What nginx refuses is taken back.
#
#   switch.sh policy|async|sync|canary     everybody to this pool (async and sync: instances started in that mode)
#   switch.sh percent N [POOL [REST]]      N percent of the callers to POOL (async), the others to REST (sync); a caller's
#                                          side is stable, and who was in at N is in at every higher N
#   switch.sh group NAME POOL|none         callers of this group (header X-Canary-Group, cookie canary_group) to POOL
#                                          whatever the share says; none: as everybody
#   switch.sh show                         what is in force
#
# GATEWAY_DIR is the directory that render.sh wrote (default /etc/order-ledger/gateway), NGINX the program (nginx).
set -eu

directory=${GATEWAY_DIR:-/etc/order-ledger/gateway}
nginx=${NGINX:-nginx}
traffic=$directory/traffic.conf

fail() {
    echo "switch: $*" >&2
    exit 1
}

usage() {
    sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

require_pool() { # NAME
    case $1 in policy | async | sync | canary) ;; *) usage ;; esac
    sed -n "/^upstream $1 {/,/^}/p" "$directory/pools.conf" | grep -q 'max_fails' \
        || fail "pool $1 has no instances: name some to render.sh"
}

shares() { # what is in force: the lines inside split_clients
    sed -n '/^split_clients/,/^}/{/^ /p}' "$traffic"
}

groups() { # what is in force: the lines of the groups
    [ ! -e "$traffic" ] || sed -n '/^map/,/^}/{/^    "/p}' "$traffic"
}

write() { # SHARES GROUPS
    {
        echo "# Written by switch.sh."
        printf 'split_clients "$caller" $pool_by_share {\n%s\n}\n' "$1"
        printf 'map $canary_group $pool {\n    default $pool_by_share;\n'
        [ -z "$2" ] || printf '%s\n' "$2"
        echo "}"
    } >"$traffic.new"
    mv "$traffic.new" "$traffic"
}

# Those that take connections: a worker that was replaced says in its title that it is shutting down.
workers() {
    ps -o pid=,args= --ppid "$(cat "$directory/nginx.pid")" | awk '!/shutting down/ { print $1 }'
}

is_replaced() { # WORKER
    title=$(ps -o args= -p "$1") || return 0
    case $title in *"shutting down"*) ;; *) return 1 ;; esac
}

await_replacement() { # OLD_WORKERS
    tries=0
    for worker in $1; do
        until is_replaced "$worker"; do
            [ $tries -lt 100 ] || fail "nginx still runs the old configuration after 10 s: see error.log"
            tries=$((tries + 1))
            sleep 0.1
        done
    done
}

put_in_force() { # SHARES GROUPS
    [ -s "$directory/nginx.pid" ] || fail "no gateway runs on $directory"
    cp "$traffic" "$traffic.before"
    write "$1" "$2"
    if ! "$nginx" -p "$directory" -c nginx.conf -q -t; then
        mv "$traffic.before" "$traffic"
        fail "nginx refused the change; the old one is in force"
    fi
    old=$(workers)
    "$nginx" -p "$directory" -c nginx.conf -s reload 2>/dev/null || {
        mv "$traffic.before" "$traffic"
        fail "nginx could not be told: see error.log"
    }
    await_replacement "$old"
    rm -f "$traffic.before"
    cat "$traffic"
}

share() { # PERCENT POOL REST
    case $1 in
    0) echo "    * $3;" ;;
    100) echo "    * $2;" ;;
    *) printf '    %s%% %s;\n    * %s;' "$1" "$2" "$3" ;;
    esac
}

case ${1:-} in
policy | async | sync | canary)
    [ $# -eq 1 ] || usage
    require_pool "$1"
    put_in_force "$(share 100 "$1" "$1")" "$(groups)"
    ;;
percent)
    [ $# -ge 2 ] && [ $# -le 4 ] || usage
    case $2 in '' | *[!0-9]*) usage ;; esac
    [ "$2" -le 100 ] || usage
    require_pool "${3:-async}"
    require_pool "${4:-sync}"
    put_in_force "$(share "$2" "${3:-async}" "${4:-sync}")" "$(groups)"
    ;;
group)
    [ $# -eq 3 ] || usage
    case $2 in '' | *[!A-Za-z0-9_-]*) usage ;; esac
    others=$(groups | grep -v "^    \"$2\" " || true)
    if [ "$3" != none ]; then
        require_pool "$3"
        others=$(printf '%s\n    "%s" %s;' "$others" "$2" "$3" | sed '/^$/d')
    fi
    put_in_force "$(shares)" "$others"
    ;;
show)
    cat "$traffic"
    ;;
--write) # for render.sh: the first one, before nginx runs
    write "$(share 100 "$2" "$2")" ""
    ;;
*) usage ;;
esac
