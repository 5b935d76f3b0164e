#!/usr/bin/env bash
# release.sh BINARY NAME DATE DIST writes DIST/NAME.tar.gz, of the form that Prometheus'
# releases have: a directory with the binary, the changelog and the licences of all that
# is in the binary. The same arguments give the same bytes anywhere: sorted names, one
# date, no owner, no time of compression.
set -euo pipefail
binary=$1 name=$2 date=$3 dist=$4

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
root=$tree/$name
install -D -m 755 "$binary" "$root/turnwarden"
install -m 644 LICENSE CHANGELOG.md "$root/"
deploy/licenses.sh "$root/licenses"

mkdir -p "$dist"
find "$tree" -type d -exec chmod 755 {} +
tar --sort=name --mtime="$date" --owner=0 --group=0 --numeric-owner --format=ustar -C "$tree" -c "$name" | gzip -9n > "$dist/$name.tar.gz"
echo "$dist/$name.tar.gz"
