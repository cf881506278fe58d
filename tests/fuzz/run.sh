#!/bin/sh
# Runs a fuzz target: run.sh events|rows|statements|json|payload [EXECUTIONS]. It begins with the corpus in this folder, and keeps what
# it finds in target/. The compiler's own coverage instrumentation is used, so that a stable toolchain suffices.
set -eu
target=$1
runs=${2:-100000}
cd "$(dirname "$0")"
# Its programs have compiler flags of their own, so they are built nowhere else.
export CARGO_TARGET_DIR="$PWD/target"
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
cargo build --release --quiet --target "$(rustc -vV | sed -n 's/^host: //p')" --bin "$target"
mkdir -p "target/found/$target"
exec "target/$(rustc -vV | sed -n 's/^host: //p')/release/$target" "target/found/$target" "corpus/$target" \
    -runs="$runs" -rss_limit_mb=1024 -timeout=10 -max_len=4096 -artifact_prefix=target/ -print_final_stats=1
