#!/bin/sh
# The cluster of ops/compose.yaml without an engine, for the tests: two name servers, a controller, a master and a replica,
# with the same configuration files and access control.
#
#   cluster.sh available                        exit 0 where Java 11 or newer and Maven are installed
#   cluster.sh start DATA_DIR NAME_SERVER_1 NAME_SERVER_2 CONTROLLER BROKER_1 BROKER_2
#                                               on these ports; returns when the replica is in sync and the client's user there
#   cluster.sh kill DATA_DIR NAME               kill -9 of name-server-1, name-server-2, controller, broker-1 or broker-2
#   cluster.sh again DATA_DIR NAME              starts it again, on the same data
#   cluster.sh mqadmin DATA_DIR ARGUMENTS       the admin tool, as the administrator
#   cluster.sh stop DATA_DIR                    all of it, and waits until it is gone
#
# $ROCKETMQ_ADMIN_USER, $ROCKETMQ_ADMIN_PASSWORD, $ROCKETMQ_CLIENT_USER and $ROCKETMQ_CLIENT_PASSWORD are given to each. A
# broker also takes the two ports below its own and the one above. When $APACHE_ROCKETMQ_OWNER_PID is given to `start`,
# everything ends once that process is gone, however it went. Linux only.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/processes.sh"
ops=$(cd "$here/../../ops/rocketmq" && pwd)

port_of() { # NAME
    cat "$data/$1.port"
}

# The environment that the configuration files ask for.
settle() {
    export BIND_ADDRESS=127.0.0.1 BROKER_IP=127.0.0.1 CONTROLLER_ID=n0
    NAME_SERVERS="127.0.0.1:$(port_of name-server-1);127.0.0.1:$(port_of name-server-2)"
    CONTROLLERS="127.0.0.1:$(port_of controller)"
    CONTROLLER_PEERS="n0-$CONTROLLERS"
    export NAME_SERVERS CONTROLLERS CONTROLLER_PEERS
}

start_one() { # NAME
    port=$(port_of "$1")
    configuration=$data/$1.conf
    export STORE="$data/$1"
    mkdir -p "$STORE"
    case $1 in
    name-server-*)
        export NAME_SERVER_PORT="$port"
        class=org.apache.rocketmq.namesrv.NamesrvStartup template=name-server heap="-Xms64m -Xmx256m"
        # Both would share the files of the account they run under.
        more="kvConfigPath=$STORE/kvConfig.json
configStorePath=$STORE/name-server.properties"
        ;;
    controller)
        class=org.apache.rocketmq.controller.ControllerStartup template=controller heap="-Xms64m -Xmx256m"
        more="mappedFileSize=8388608
configStorePath=$STORE/controller.properties"
        ;;
    broker-*)
        export BROKER_PORT="$port" BROKER_HA_PORT="$((port + 1))" METRICS_PORT="$((port - 1))"
        class=org.apache.rocketmq.broker.BrokerStartup template=broker
        heap="-Xms256m -Xmx256m -XX:MaxDirectMemorySize=256m"
        # A small machine with a disk that others fill.
        more="mappedFileSizeCommitLog=67108864
mappedFileSizeConsumeQueue=600000
maxIndexNum=100000
maxHashSlotNum=20000
diskMaxUsedSpaceRatio=95"
        ;;
    *) fail "unknown server $1" ;;
    esac
    { sh "$ops/render.sh" "$ops/$template.conf" && printf '%s\n' "$more"; } >"$configuration"
    launch "$data/$1.log" "$data/$1.pid" $class "$heap" -c "$configuration"
}

wait_for() { # NAME
    wait_until_listening "$(port_of "$1")" "$(cat "$data/$1.pid")" "$1" "$data/$1.log"
}

mqadmin() {
    # Its exit code says nothing, and the broker's jar beside it makes the logging tell how it was set up.
    ROCKETMQ_HOME="$data/home" java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Duser.home="$data/home" \
        -cp "$cache/lib/*" org.apache.rocketmq.tools.command.MQAdminStartup "$@" | grep -v '^[0-9:,]* |-' || true
}

wait_until_in_sync() {
    waited_ms=0
    until [ "$(mqadmin getSyncStateSet -a "$CONTROLLERS" -b broker-a 2>/dev/null | grep -c '^InSyncReplica')" -ge 2 ]; do
        [ $waited_ms -lt $((start_timeout_s * 1000)) ] || fail "the replica was not in sync within $start_timeout_s s"
        sleep 0.5
        waited_ms=$((waited_ms + 500))
    done
}

command=${1:-help}
[ $# -lt 1 ] || shift
case $command in
available) available ;;
start)
    [ $# -eq 6 ] || fail "start DATA_DIR NAME_SERVER_1 NAME_SERVER_2 CONTROLLER BROKER_1 BROKER_2"
    fetch
    mkdir -p "$1/home/conf"
    data=$(cd "$1" && pwd)
    echo "$2" >"$data/name-server-1.port"
    echo "$3" >"$data/name-server-2.port"
    echo "$4" >"$data/controller.port"
    echo "$5" >"$data/broker-1.port"
    echo "$6" >"$data/broker-2.port"
    settle
    umask 077
    sh "$ops/render.sh" "$ops/tools.yml" >"$data/home/conf/tools.yml"
    when_the_owner_is_gone stop "$data"
    for name in name-server-1 name-server-2 controller; do start_one $name; done
    for name in name-server-1 name-server-2 controller; do wait_for $name; done
    # The first to come is the first master.
    for name in broker-1 broker-2; do start_one $name && wait_for $name; done
    wait_until_in_sync
    BROKERS="127.0.0.1:$5 127.0.0.1:$6" MQADMIN="$here/cluster.sh mqadmin $data" sh "$ops/acl.sh"
    ;;
again)
    data=$(cd "$1" && pwd)
    settle
    start_one "$2"
    wait_for "$2"
    ;;
kill)
    data=$(cd "$1" && pwd)
    end_process "$2" 9
    ;;
mqadmin)
    data=$(cd "$1" && pwd)
    shift
    mqadmin "$@"
    ;;
after) after "$@" ;;
stop)
    data=$(cd "$1" && pwd)
    for name in broker-2 broker-1 controller name-server-2 name-server-1; do end_process $name TERM; done
    ;;
*)
    sed -n '2,17s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
