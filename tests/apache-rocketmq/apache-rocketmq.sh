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
. "$here/processes.sh"

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
    when_the_owner_is_gone stop "$data"
    ;;
after) after "$@" ;;
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
