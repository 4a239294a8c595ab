# shellcheck shell=bash disable=SC2034
# Shared by every script here: where things live, and how to say what is happening.
# Source it; it changes nothing on the machine.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Built servers live outside the checkout, so that the next clone finds them, in a place that the
# servers' unprivileged user may read.
CACHE="${PG_MIGRATOR_CACHE:-/opt/pg-migrator}"
PG18_PREFIX="$CACHE/pg18"
OLD_PREFIX="$CACHE/old"
PGRX_VERSION="0.18.0"
# Where this project's cargo-pgrx lives: pinned, and out of the way of one the user may have.
PGRX_ROOT="$CACHE/cargo-pgrx-$PGRX_VERSION"
# Programs that the benchmark compares with.
PEERS="$CACHE/peers"
# The user that runs test and demo servers when we are root (postgres refuses to run as root).
SERVER_USER="${PG_MIGRATOR_SERVER_USER:-postgres}"
OLD_MAJORS="10 11 12 13 14 16 17"

say()  { printf '%s\n' "pg-migrator: $*" >&2; }
fail() { printf '%s\n' "pg-migrator: $*" >&2; exit 1; }

# Runs a command with root's rights: directly as root, else through sudo, else says what to run.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -E "$@"
    elif command -v sudo >/dev/null && [ -t 0 ]; then
        sudo -E "$@"
    else
        fail "this needs root's rights; run it yourself, then start again:  sudo $*"
    fi
}

# Prints the pg_config of PostgreSQL 18: the one asked for, an installed one with headers, or the one we built.
find_pg18() {
    local candidate
    for candidate in "${PG_CONFIG:-}" /usr/lib/postgresql/18/bin/pg_config "$PG18_PREFIX/bin/pg_config"; do
        [ -x "$candidate" ] || continue
        "$candidate" --version 2>/dev/null | grep -q ' 18' || continue
        [ -f "$("$candidate" --includedir-server)/postgres.h" ] || continue
        # The server itself must be there too, not just its headers.
        [ -x "$("$candidate" --bindir)/postgres" ] || continue
        echo "$candidate"
        return 0
    done
    return 1
}

# Prints the bin folder of the distribution's own older server, newest first.
find_old_server() {
    local major
    for major in 17 16 15 14 13; do
        if [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
            echo "/usr/lib/postgresql/$major/bin"
            return 0
        fi
    done
    return 1
}

# Ends with what to do when something that building needs is missing.
require_build_tools() {
    command -v cargo >/dev/null || fail "Rust is missing: install it with rustup (https://rustup.rs), then: make setup"
    [ -x "$PGRX_ROOT/bin/cargo-pgrx" ] || fail "cargo-pgrx $PGRX_VERSION is missing; run: make setup"
}

# Sets pg_config, and tells pgrx to build against it. Every script that compiles calls it, because cargo rebuilds the
# bindings (a minute) when this changes. The user's own pgrx configuration is neither read nor written.
use_pgrx() {
    pg_config="$(find_pg18)" || fail "no PostgreSQL 18 with headers here; run: make setup, or give PG_CONFIG=/path/to/pg_config"
    if [ -n "${PG_CONFIG:-}" ] && [ "$pg_config" != "$PG_CONFIG" ]; then
        fail "$PG_CONFIG is not the pg_config of a PostgreSQL 18 with its headers"
    fi
    export PGRX_PG_CONFIG_PATH="$pg_config"
}

# Prints the folder cargo builds in.
target_dir() {
    case "${CARGO_TARGET_DIR:-}" in
        "") echo "$ROOT/target" ;;
        /*) echo "$CARGO_TARGET_DIR" ;;
        *)  echo "$ROOT/$CARGO_TARGET_DIR" ;;
    esac
}

# Prints the folder below target_dir that a cargo profile builds in.
profile_dir() {
    if [ "$1" = dev ]; then echo debug; else echo "$1"; fi
}

# Prints the folder that holds the extension's files as they lie below /, built with a profile.
extension_package() {
    echo "$(target_dir)/$(profile_dir "$1")/migrator-pg18"
}
