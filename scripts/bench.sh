#!/usr/bin/env bash
# Measures pg-migrator beside the other ways of moving a database, on the same two servers, and prints tables.
# Arguments are rows: mixed big small toast drain load schema; all without any. A row may have a size, in units of about 100 MB, after a
# colon; `schema` has a number of tables there.
#
#   ROUNDS=5 scripts/bench.sh mixed:20 small     a database of about 2 GB and one of 5,000 tables, five rounds (default 3)
#
# pgcopydb takes part where scripts/bench_peers.sh has built it, or where it is in PATH.

. "$(dirname "$0")/lib.sh"

cd "$ROOT"
scripts/setup.sh
say "building"
scripts/install.sh --profile fast --extension-only
cargo build --quiet --profile fast -p pg-migrator-tests --bin bench --bin bench_schema
cargo build --quiet --profile fast -p pg-migrator
bin="$(target_dir)/$(profile_dir fast)"
export PATH="$PEERS:$PATH"
export PG_MIGRATOR_BIN="${PG_MIGRATOR_BIN:-$bin/pg-migrator}"

rows=()
schema=no
[ $# -gt 0 ] || schema=20000
for row in "$@"; do
    case "$row" in
        schema) schema=20000 ;;
        schema:*) schema="${row#schema:}" ;;
        *) rows+=("$row") ;;
    esac
done
if [ $# = 0 ] || [ ${#rows[@]} -gt 0 ]; then
    "$bin/bench" "${rows[@]}"
fi
[ "$schema" = no ] || TABLES="$schema" "$bin/bench_schema"
