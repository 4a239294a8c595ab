#!/usr/bin/env bash
# Plays rounds of the fault suite: each migrates a database under load while one thing goes wrong at one moment.
#
#   ROUNDS=200 SEED=7 scripts/soak.sh     two hundred rounds; the same seed plays the same faults in the same phases
#   FAULTS='kill -9,disk' …               only faults that are described by one of these words
#   ONLY=18,24,150-199 ROUNDS=200 SEED=7 …   of those two hundred only these, on the same versions
#   LANES=4 LOGS=/tmp/soak …              four side by side (default 2); the folder for the log of the rounds and the table of all
#
# Log and table are written as rounds end, so that a soak which is ended before its time has a result; ONLY plays the rest.

. "$(dirname "$0")/lib.sh"

cd "$ROOT"
scripts/setup.sh --tests
say "building"
scripts/install.sh --profile fast --extension-only
cargo build --quiet --profile fast -p pg-migrator -p pg-migrator-tests --bin pg-migrator --bin soak
bin="$(target_dir)/$(profile_dir fast)"
export LOGS="${LOGS:-$(target_dir)/soak/$(date +%Y%m%d-%H%M%S)}"
say "the result goes into $LOGS"
PG_MIGRATOR_BIN="${PG_MIGRATOR_BIN:-$bin/pg-migrator}" exec "$bin/soak"
