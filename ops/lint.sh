#!/bin/sh
# Has compose.yaml read by the Compose specification's own rules: by `docker compose`, else by the specification's reference
# implementation, which Go fetches and keeps. No engine is needed. Exits 3 where there is neither.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
if docker compose version >/dev/null 2>&1; then
    exec docker compose -f "$here/compose.yaml" config --quiet --no-interpolate
fi
if command -v go >/dev/null 2>&1; then
    cd /tmp # outside of any Go module
    exec go run github.com/compose-spec/compose-go/v2/cmd@v2.6.0 -no-interpolation "$here/compose.yaml" >/dev/null
fi
echo "lint: neither docker compose nor Go is here" >&2
exit 3
