#!/usr/bin/env bash
# All tests, set-up included: the parts by themselves, then the scenarios on real servers of every supported version.
# Arguments go to the runner: scripts/test.sh -E 'test(resume)' runs what has that in its name.

. "$(dirname "$0")/lib.sh"

cd "$ROOT"
scripts/setup.sh --tests
say "building"
# The extension goes into the PostgreSQL 18 installation that the scenarios' servers run from.
scripts/install.sh --profile dev --extension-only
PG_MIGRATOR_BIN="$(target_dir)/debug/pg-migrator"
export PG_MIGRATOR_BIN
say "testing"
exec cargo nextest run "$@"
