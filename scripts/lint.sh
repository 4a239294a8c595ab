#!/usr/bin/env bash
# Format, lints, licences and advisories, shell scripts. Tools that are not installed are skipped with a word about it.

. "$(dirname "$0")/lib.sh"

require_build_tools
use_pgrx
cd "$ROOT"

cargo fmt --all --check
cargo clippy --quiet --workspace --all-targets -- -D warnings

if cargo deny --version >/dev/null 2>&1; then
    cargo deny --log-level error check
else
    say "cargo-deny is not installed: licences and advisories are not checked (cargo install --locked cargo-deny)"
fi
if command -v shellcheck >/dev/null; then
    shellcheck -x --source-path=SCRIPTDIR scripts/*.sh
else
    say "shellcheck is not installed: the shell scripts are not checked (apt-get install shellcheck)"
fi
