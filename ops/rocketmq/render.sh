#!/bin/sh
# Prints a configuration file with its ${NAMES} replaced by the environment; one that is not set is an error.
#
#   render.sh FILE
set -eu

exec awk '{
    rendered = ""
    while (match($0, /\$\{[A-Z0-9_]+\}/)) {
        name = substr($0, RSTART + 2, RLENGTH - 3)
        if (!(name in ENVIRON)) {
            print "render: " name " is not set" >"/dev/stderr"
            exit 1
        }
        rendered = rendered substr($0, 1, RSTART - 1) ENVIRON[name]
        $0 = substr($0, RSTART + RLENGTH)
    }
    print rendered $0
}' "$1"
