# Read by the scripts beside it, which set $here: the jars of Apache RocketMQ, and its processes under $data.
#
# Maven resolves the jars from where it is configured to; the cache is $APACHE_ROCKETMQ_CACHE, else in the user's cache
# directory. A process NAME has $data/NAME.pid and $data/NAME.port. Linux only.

version=$(sed -n 's:.*<rocketmq.version>\(.*\)</rocketmq.version>.*:\1:p' "$here/pom.xml")
cache=${APACHE_ROCKETMQ_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/order-ledger/apache-rocketmq-$version}
start_timeout_s=90
stop_timeout_s=30

fail() {
    echo "$(basename "$0" .sh): $*" >&2
    exit 1
}

available() {
    command -v mvn >/dev/null 2>&1 || return 1
    major=$(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')
    [ -n "$major" ] && [ "$major" -ge 11 ]
}

fetch() {
    if [ -e "$cache/complete" ]; then return; fi
    available || fail "Java 11 or newer and Maven are needed"
    mkdir -p "$cache"
    # Two test runs at once fetch once.
    (
        flock 9
        if [ -e "$cache/complete" ]; then exit 0; fi
        echo "fetching Apache RocketMQ $version into $cache" >&2
        mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/lib" >&2 \
            || fail "Maven could not resolve the jars"
        touch "$cache/complete"
    ) 9>"$cache/lock"
}

listens() {
    # The shell of `sh` may know no /dev/tcp; Java is here anyway, but slow to ask. Linux tells through /proc.
    port_hex=$(printf '%04X' "$1")
    grep -qiE "^ *[0-9]+: [0-9A-F]+:$port_hex [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

wait_until_listening() { # PORT PID WHAT LOG
    waited_ms=0
    until listens "$1"; do
        kill -0 "$2" 2>/dev/null || fail "the $3 ended at its start: $(tail -n 3 "$4")"
        [ $waited_ms -lt $((start_timeout_s * 1000)) ] || fail "the $3 did not listen on port $1 within $start_timeout_s s"
        sleep 0.1
        waited_ms=$((waited_ms + 100))
    done
}

# LOG PID_FILE CLASS JVM_OPTIONS ARGUMENTS: in a session of its own, so that Ctrl-C at the tests reaches the tests only.
launch() {
    log=$1 pid_file=$2 class=$3 heap=$4
    shift 4
    # shellcheck disable=SC2086 # the heap options are several words
    ROCKETMQ_HOME="$data/home" setsid java $heap -XX:+UseSerialGC -Duser.home="$data/home" \
        --add-exports=java.base/jdk.internal.ref=ALL-UNNAMED \
        --add-opens=java.base/java.lang=ALL-UNNAMED \
        --add-opens=java.base/java.nio=ALL-UNNAMED \
        --add-opens=java.base/sun.nio.ch=ALL-UNNAMED \
        --add-opens=java.base/jdk.internal.misc=ALL-UNNAMED \
        -cp "$cache/lib/*" "$class" "$@" >>"$log" 2>&1 </dev/null &
    echo $! >"$pid_file"
}

end_process() { # NAME SIGNAL
    pid_file=$data/$1.pid
    [ -e "$pid_file" ] || return 0
    pid=$(cat "$pid_file")
    port=$(cat "$data/$1.port")
    kill "-$2" "$pid" 2>/dev/null || true
    waited_ms=0
    # A killed process may hold its port for a moment after it became a zombie.
    while listens "$port" || is_alive "$pid"; do
        if [ $waited_ms -ge $((stop_timeout_s * 1000)) ]; then kill -9 "$pid" 2>/dev/null || true; fi
        sleep 0.1
        waited_ms=$((waited_ms + 100))
    done
    rm -f "$pid_file"
}

is_alive() { # PID
    case $(ps -o stat= -p "$1" 2>/dev/null) in
    '' | Z*) return 1 ;;
    esac
}

# COMMAND DATA_DIR: runs the calling script's COMMAND once $APACHE_ROCKETMQ_OWNER_PID is gone, however it went.
when_the_owner_is_gone() {
    [ -n "${APACHE_ROCKETMQ_OWNER_PID:-}" ] || return 0
    setsid "$here/$(basename "$0")" after "$APACHE_ROCKETMQ_OWNER_PID" "$@" >/dev/null 2>&1 </dev/null &
}

after() { # PID COMMAND DATA_DIR
    while is_alive "$1"; do sleep 1; done
    shift
    exec "$here/$(basename "$0")" "$@"
}
