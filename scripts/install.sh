#!/usr/bin/env bash
# Builds, then installs the extension into PostgreSQL 18 and the binary into PREFIX/bin (default /usr/local/bin).
# Root's rights are used only for folders that the caller can't write. Files that are equal already are left alone.
#
#   scripts/install.sh [--profile release|fast|dev] [--extension-only]
#   PG_CONFIG=/path/to/pg_config PREFIX=/usr/local scripts/install.sh

. "$(dirname "$0")/lib.sh"

profile=release
extension_only=no
while [ $# -gt 0 ]; do
    case "$1" in
        --profile) profile="${2:?--profile needs a name}"; shift 2 ;;
        --extension-only) extension_only=yes; shift ;;
        *) fail "unknown option $1; usage: scripts/install.sh [--profile release|fast|dev] [--extension-only]" ;;
    esac
done

"$ROOT/scripts/build.sh" --profile "$profile"
use_pgrx

# Puts one file into place: as a new file that takes the old one's name, because running servers and programs have the old one open.
put() {
    local source="$1" destination="$2" mode="$3" folder run=()
    cmp -s "$source" "$destination" && return 0
    folder="$(dirname "$destination")"
    if [ -d "$folder" ] && [ ! -w "$folder" ] || [ ! -d "$folder" ] && ! mkdir -p "$folder" 2>/dev/null; then
        run=(as_root)
    fi
    "${run[@]}" install -D -m "$mode" "$source" "$destination.new"
    "${run[@]}" mv -f "$destination.new" "$destination"
    say "installed $destination"
}

package="$(extension_package "$profile")"
library_dir="$("$pg_config" --pkglibdir)"
extension_dir="$("$pg_config" --sharedir)/extension"
put "$package$library_dir/migrator.so" "$library_dir/migrator.so" 755
for file in "$package$extension_dir"/migrator*; do
    put "$file" "$extension_dir/$(basename "$file")" 644
done
if [ "$extension_only" = no ]; then
    put "$(target_dir)/$(profile_dir "$profile")/pg-migrator" "${PREFIX:-/usr/local}/bin/pg-migrator" 755
fi
