#!/usr/bin/env bash
# Builds pgcopydb, which the benchmark compares with, from Debian's source package: its binaries are of a version that does not know
# PostgreSQL 18. Idempotent; it goes where the benchmark looks for it, and nowhere else on the machine.
#
#   scripts/bench_peers.sh       then: scripts/bench.sh

. "$(dirname "$0")/lib.sh"

[ -x "$PEERS/pgcopydb" ] && exit 0
command -v apt-get >/dev/null || fail "there is no apt-get here: put pgcopydb into $PEERS yourself, or leave it out of the benchmark"
pg_config="$(find_pg18)" || fail "no PostgreSQL 18 with headers here; run: make setup"

say "building pgcopydb from Debian's source package"
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install \
    build-essential dpkg-dev libgc-dev libncurses-dev libssl-dev zlib1g-dev libreadline-dev libzstd-dev liblz4-dev libxml2-dev >/dev/null
# shellcheck disable=SC2016  # apt's own placeholders
uri="${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 2>/dev/null | grep -E '/debian/? ' | head -n 1 | cut -d' ' -f1)}"
[ -n "$uri" ] || fail "no Debian mirror in this machine's apt sources; give DEBIAN_MIRROR=http://…/debian"
work="$(mktemp -d "${TMPDIR:-/tmp}/pgcopydb-build.XXXXXX")"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s forky main\n' "$uri" >"$work/sources.list"
chmod -R a+rX "$work"
options=(-o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=/dev/null" -o "Dir::State::lists=$work/lists"
    -o "Dir::Cache=$work/cache" -o "APT::Sandbox::User=root")
# Chained, because the shell's errexit does not hold inside a command whose failure is handled.
(
    cd "$work/source" &&
        as_root apt-get -qq "${options[@]}" update &&
        as_root apt-get -qq "${options[@]}" source --download-only pgcopydb &&
        tar -xf pgcopydb_*.orig.tar.* --strip-components=1 &&
        make -s PG_CONFIG="$pg_config" bin
) >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log" >&2; fail "building pgcopydb failed; the whole log is $work/build.log"; }
mkdir -p "$PEERS" 2>/dev/null || as_root install -d -o "$(id -u)" "$PEERS"
install -m 755 "$work/source/src/bin/pgcopydb/pgcopydb" "$PEERS/pgcopydb"
as_root rm -rf "$work"
"$PEERS/pgcopydb" --version >&2
