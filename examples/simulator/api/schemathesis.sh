#!/bin/sh
# Tries the API against its own description, on an embedded simulator that is started for it and ended afterwards.
#
#   examples/simulator/api/schemathesis.sh target/debug/examples/simulator [schemathesis [EXAMPLES]]
#
# Ends with the exit code of schemathesis: 0 if it found nothing.
set -eu

simulator=$(realpath "$1")
schemathesis=${2:-schemathesis}
examples=${3:-50}
here=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT

cd "$work"
CACHEFRONT_API_ADDR=127.0.0.1:0 CACHEFRONT_UI_ADDR=127.0.0.1:0 CACHEFRONT_DATA_DIR="$work/data" \
  "$simulator" up >"$work/out" 2>"$work/log" &
pid=$!
url=
for _ in $(seq 1 300); do
  url=$(sed -n 's/^API  *\(http:[^ ]*\).*/\1/p' "$work/out")
  [ -n "$url" ] && break
  kill -0 "$pid" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { echo "the simulator did not start within 30 s" >&2; exit 1; }

try() {
  "$schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json" --phases coverage,fuzzing \
    --max-examples "$examples" "$@"
}
# Faults come last and alone: a delay of ten seconds is as asked for, and would make everything else slow.
try --exclude-path /faults
try --include-path /faults
