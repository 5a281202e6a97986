#!/bin/sh
# Makes the user that order-ledger connects as, with the rights it needs and no more. Run again it puts right what differs;
# run it for a broker that was added, too: users are not replicated.
#
#   acl.sh
#
# BROKERS                                          "host:port host:port", masters and replicas
# ROCKETMQ_CLIENT_USER, ROCKETMQ_CLIENT_PASSWORD   the user to make
# MQADMIN                                          the admin tool, which finds the administrator's keys in its conf/tools.yml
set -eu

admin=${MQADMIN:-mqadmin}

# BROKER COMMAND ARGUMENTS: the tool's exit code says nothing, its output does.
ask() {
    broker=$1 command=$2
    shift 2
    output=$($admin "$command" -b "$broker" "$@" 2>&1) || true
    case $output in
    *success*) return 0 ;;
    *) return 1 ;;
    esac
}

must() {
    ask "$@" || { printf 'acl: %s\n' "$output" >&2; exit 1; }
}

topics=Topic:order-*,Topic:stock-*,Topic:user-notification,Topic:sms-notification,Topic:email-notification
# As rocketmq.consumer.group.
groups=Group:ticket-consumer-group-*
for broker in $BROKERS; do
    ask "$broker" createUser -u "$ROCKETMQ_CLIENT_USER" -p "$ROCKETMQ_CLIENT_PASSWORD" -t Normal \
        || must "$broker" updateUser -u "$ROCKETMQ_CLIENT_USER" -p "$ROCKETMQ_CLIENT_PASSWORD"
    must "$broker" updateAcl -s "User:$ROCKETMQ_CLIENT_USER" -r "$topics" -a Pub,Sub,Create,Get -d Allow
    must "$broker" updateAcl -s "User:$ROCKETMQ_CLIENT_USER" -r "$groups" -a Sub,Get,Update -d Allow
done
