#!/bin/sh
# Starts one RocketMQ server inside the image apache/rocketmq, with the configuration that stands beside this file; `acl`
# makes the client's user and ends.
#
#   start.sh name-server|controller|broker|acl
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# Read by nobody else: there are passwords in it.
umask 077

serve() { # CONFIGURATION PROGRAM
    sh "$here/render.sh" "$here/$1.conf" >"/tmp/$1.conf"
    cd "$ROCKETMQ_HOME/bin"
    exec sh "$2" -c "/tmp/$1.conf"
}

case ${1:-} in
name-server) serve name-server mqnamesrv ;;
controller) serve controller mqcontroller ;;
broker) serve broker mqbroker ;;
acl)
    sh "$here/render.sh" "$here/tools.yml" >"$ROCKETMQ_HOME/conf/tools.yml"
    MQADMIN="sh $ROCKETMQ_HOME/bin/mqadmin" exec sh "$here/acl.sh"
    ;;
*)
    echo "start.sh name-server|controller|broker|acl" >&2
    exit 2
    ;;
esac
