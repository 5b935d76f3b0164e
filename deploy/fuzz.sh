#!/usr/bin/env bash
# Fuzzes every FuzzXxx of the module for $1 (30s), one after another, and goes on after one
# that fails. What is found is kept in the package's testdata/fuzz, where every later go test
# tries it again.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=
while read -r package name; do
	echo "$package $name"
	out=$(go test -run '^$' -fuzz "^$name\$" -fuzztime "${1:-30s}" "$package" </dev/null 2>&1) && continue
	echo "$out"
	# Go before 1.27 may report the end of -fuzztime as a failure, without an input that
	# fails (golang/go#75804).
	[[ $out == *'context deadline exceeded'* && $out != *'Failing input written to'* ]] || failed+=" $package:$name"
done < <(grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|/[^/]*:func | |' | sort)
[[ -z $failed ]] || { echo "failed:$failed"; exit 1; }
