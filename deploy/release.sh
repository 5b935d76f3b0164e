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

# MIT and BSD ask for their text wherever the binary goes; some packages have one of their own.
licences() { # MODULE DIRECTORY
	find "$2" -type f \( -name 'LICENSE*' -o -name 'NOTICE*' -o -name 'COPYING*' -o -name PATENTS \) -printf '%P\n' |
		while read -r file; do install -D -m 644 "$2/$file" "$root/licenses/$1/$file"; done
}
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/turnwarden | sort -u |
	while read -r module directory; do licences "$module" "$directory"; done
install -D -m 644 "$(go env GOROOT)/LICENSE" "$root/licenses/go/LICENSE"

mkdir -p "$dist"
find "$tree" -type d -exec chmod 755 {} +
tar --sort=name --mtime="$date" --owner=0 --group=0 --numeric-owner --format=ustar -C "$tree" -c "$name" | gzip -9n > "$dist/$name.tar.gz"
echo "$dist/$name.tar.gz"
