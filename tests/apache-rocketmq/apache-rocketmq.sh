#!/bin/sh
# A private Apache RocketMQ for the tests: a name server and a broker of its own, on given ports, in a given directory.
#
#   apache-rocketmq.sh available                                   exit 0 where Java 11 or newer and Maven are installed
#   apache-rocketmq.sh fetch                                       the jars, once, into the cache
#   apache-rocketmq.sh start DATA_DIR NAME_SERVER_PORT BROKER_PORT returns when both take connections
#   apache-rocketmq.sh kill-broker DATA_DIR                        kill -9
#   apache-rocketmq.sh start-broker DATA_DIR                       again, on the same data
#   apache-rocketmq.sh stop DATA_DIR                               both, and waits until they are gone
#
# The broker also takes the port two below its own and the one above. Maven resolves the jars from where it is configured
# to; the cache is $APACHE_ROCKETMQ_CACHE, else in the user's cache directory. When $APACHE_ROCKETMQ_OWNER_PID is given to
# `start`, both end once that process is gone, however it went. Linux only.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's:.*<rocketmq.version>\(.*\)</rocketmq.version>.*:\1:p' "$here/pom.xml")
cache=${APACHE_ROCKETMQ_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/order-ledger/apache-rocketmq-$version}
start_timeout_s=90
stop_timeout_s=30

fail() {
    echo "apache-rocketmq: $*" >&2
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
        --add-opens=java.base/java.nio=ALL-UNNAMED \
        --add-opens=java.base/sun.nio.ch=ALL-UNNAMED \
        --add-opens=java.base/jdk.internal.misc=ALL-UNNAMED \
        -cp "$cache/lib/*" "$class" "$@" >>"$log" 2>&1 </dev/null &
    echo $! >"$pid_file"
}

write_settings() { # NAME_SERVER_PORT BROKER_PORT
    mkdir -p "$data/home/conf" "$data/store"
    echo "$1" >"$data/name-server.port"
    echo "$2" >"$data/broker.port"
    cat >"$data/name-server.properties" <<EOF
listenPort=$1
bindAddress=127.0.0.1
kvConfigPath=$data/home/kvConfig.json
configStorePath=$data/name-server.properties
EOF
    cat >"$data/broker.properties" <<EOF
brokerClusterName=TestCluster
brokerName=apache-a
brokerId=0
brokerRole=ASYNC_MASTER
flushDiskType=ASYNC_FLUSH
bindAddress=127.0.0.1
brokerIP1=127.0.0.1
brokerIP2=127.0.0.1
listenPort=$2
haListenPort=$(($2 + 1))
namesrvAddr=127.0.0.1:$1
storePathRootDir=$data/store
storePathCommitLog=$data/store/commitlog
mappedFileSizeCommitLog=67108864
mappedFileSizeConsumeQueue=600000
maxIndexNum=100000
maxHashSlotNum=20000
flushConsumerOffsetInterval=1000
autoCreateTopicEnable=false
autoCreateSubscriptionGroup=true
diskMaxUsedSpaceRatio=95
EOF
}

start_name_server() {
    port=$(cat "$data/name-server.port")
    launch "$data/name-server.log" "$data/name-server.pid" org.apache.rocketmq.namesrv.NamesrvStartup \
        "-Xms128m -Xmx256m" -c "$data/name-server.properties"
    wait_until_listening "$port" "$(cat "$data/name-server.pid")" "name server" "$data/name-server.log"
}

start_broker() {
    port=$(cat "$data/broker.port")
    launch "$data/broker.log" "$data/broker.pid" org.apache.rocketmq.broker.BrokerStartup \
        "-Xms512m -Xmx512m -XX:MaxDirectMemorySize=512m" -c "$data/broker.properties"
    wait_until_listening "$port" "$(cat "$data/broker.pid")" broker "$data/broker.log"
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

command=${1:-help}
[ $# -lt 1 ] || shift
case $command in
available) available ;;
fetch) fetch ;;
start)
    [ $# -eq 3 ] || fail "start DATA_DIR NAME_SERVER_PORT BROKER_PORT"
    fetch
    mkdir -p "$1"
    data=$(cd "$1" && pwd)
    write_settings "$2" "$3"
    start_name_server
    start_broker
    if [ -n "${APACHE_ROCKETMQ_OWNER_PID:-}" ]; then
        setsid "$here/apache-rocketmq.sh" stop-after "$data" "$APACHE_ROCKETMQ_OWNER_PID" >/dev/null 2>&1 </dev/null &
    fi
    ;;
stop-after)
    while is_alive "$2"; do sleep 1; done
    exec "$here/apache-rocketmq.sh" stop "$1"
    ;;
start-broker)
    data=$(cd "$1" && pwd)
    start_broker
    ;;
kill-broker)
    data=$(cd "$1" && pwd)
    end_process broker 9
    ;;
stop)
    data=$(cd "$1" && pwd)
    # Ended in this order the broker can unregister.
    end_process broker TERM
    end_process name-server TERM
    ;;
*)
    sed -n '2,14s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
