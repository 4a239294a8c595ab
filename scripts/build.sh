#!/usr/bin/env bash
# Builds the binary `pg-migrator` and the extension `migrator`, and lays the extension's files out for scripts/install.sh.
# Cargo rebuilds only what changed; the second run takes a second.
#
#   scripts/build.sh [--profile release|fast|dev]    fast: release without link-time optimisation; dev: for the tests
#   PG_CONFIG=/path/to/pg_config scripts/build.sh     for this PostgreSQL 18

. "$(dirname "$0")/lib.sh"

profile=release
case "${1:-}" in
    "") ;;
    --profile) profile="${2:?--profile needs a name}" ;;
    *) fail "unknown option $1; usage: scripts/build.sh [--profile release|fast|dev]" ;;
esac

require_build_tools
use_pgrx
cd "$ROOT"

cargo build --quiet --profile "$profile" -p pg-migrator

# cargo-pgrx speaks of every file it copies, each time: keep that for the case that something goes wrong.
package="$(extension_package "$profile")"
rm -rf "$package"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! "$PGRX_ROOT/bin/cargo-pgrx" pgrx package --package migrator --pg-config "$pg_config" --profile "$profile" \
    --out-dir "$package" >"$log" 2>&1; then
    cat "$log" >&2
    fail "building the extension failed"
fi
