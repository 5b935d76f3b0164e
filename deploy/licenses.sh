#!/usr/bin/env bash
# licenses.sh DIRECTORY writes the licences of all that is linked into turnwarden there:
# MIT and BSD ask for their text wherever the binary goes. Some packages have one of their own.
set -euo pipefail
directory=$1

go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' ./cmd/turnwarden | sort -u |
	while read -r module source; do
		find "$source" -type f \( -name 'LICENSE*' -o -name 'NOTICE*' -o -name 'COPYING*' -o -name PATENTS \) -printf '%P\n' |
			while read -r file; do install -D -m 644 "$source/$file" "$directory/$module/$file"; done
	done
install -D -m 644 "$(go env GOROOT)/LICENSE" "$directory/go/LICENSE"
