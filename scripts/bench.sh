#!/usr/bin/env bash
# Measures pg-migrator beside the other ways of moving a database, on the same two servers, and prints a table.
# Arguments are rows of the table: mixed big small toast drain; all without any.
#
#   SCALE=20 ROUNDS=5 scripts/bench.sh mixed     databases of about 2 GB (SCALE x 100 MB; default 3), five rounds (default 3)

. "$(dirname "$0")/lib.sh"

cd "$ROOT"
scripts/setup.sh
say "building"
scripts/install.sh --profile fast --extension-only
cargo build --quiet --profile fast -p pg-migrator-tests --bin bench
bin="$(target_dir)/$(profile_dir fast)"
PG_MIGRATOR_BIN="${PG_MIGRATOR_BIN:-$bin/pg-migrator}" exec "$bin/bench" "$@"
