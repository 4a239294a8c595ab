#!/usr/bin/env bash
# The demo: a shop of about 200 MB moves from an older PostgreSQL to PostgreSQL 18 while it is written to.
# Does all the set-up itself. With CI set it asks nothing and exits 0 only if both servers were equal.

. "$(dirname "$0")/lib.sh"

cd "$ROOT"
scripts/setup.sh
say "building (a few minutes the first time)"
# The tests' profile: quick to build and quick enough, since the servers do the heavy work. `make install` builds for real use.
scripts/install.sh --profile dev --extension-only
cargo build --quiet -p pg-migrator-tests --bin demo
bin="$(target_dir)/$(profile_dir dev)"
PG_MIGRATOR_BIN="$bin/pg-migrator" exec "$bin/demo"
