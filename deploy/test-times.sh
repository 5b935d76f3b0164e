#!/usr/bin/env bash
# Runs every test by itself and prints a table of its time and of the processor time that it
# and all that it starts take, in a cgroup of its own (root; cgroup v1 or v2).
set -euo pipefail
cd "$(dirname "$0")/.."

top=$PWD bin=$(mktemp -d)
if [[ -d /sys/fs/cgroup/cpuacct ]]; then
	group=/sys/fs/cgroup/cpuacct/turnwarden-$$
	used() { echo $(($(<"$group/cpuacct.usage") / 1000000)); }
else
	group=/sys/fs/cgroup/turnwarden-$$
	used() { awk '/^usage_usec/ {print int($2 / 1000)}' "$group/cpu.stat"; }
fi
mkdir "$group"
trap 'rm -rf "$bin"; rmdir "$group"' EXIT
seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

go build -o "$bin/turnwarden" ./cmd/turnwarden
export TURNWARDEN_BINARY=$bin/turnwarden
wall_sum=0 cpu_sum=0 rows=
for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...); do
	cd "$package"
	go test -c -o "$bin/test" . >&2
	for test in $("$bin/test" -test.list '^(Test|Example)'); do
		cpu=$(used) wall=${EPOCHREALTIME/./} result=ok kind=waits
		(echo "$BASHPID" >"$group/cgroup.procs" && exec "$bin/test" -test.run "^$test\$" -test.v) >"$bin/log" 2>&1 || result=FAILED
		wall=$(((${EPOCHREALTIME/./} - wall) / 1000)) cpu=$(($(used) - cpu))
		if grep -q -- "^--- SKIP: $test " "$bin/log"; then result=skipped; fi
		if ((cpu * 2 >= wall)); then kind=works; fi
		((wall_sum += wall, cpu_sum += cpu)) || true
		rows+="$(seconds $cpu) $(seconds $wall) $kind $result ${package#"$top"/} $test"$'\n'
		echo "$(seconds $cpu) $(seconds $wall) $result $test" >&2
	done
	cd "$top"
done

cat <<EOF
# What the tests take

\`make test-times\` runs each test by itself and writes this page, here on a machine with $(nproc) processors.
*CPU* is the processor time of the test and of all that it starts, *time* what a clock shows, both in seconds.
A test *waits* where less than half of one processor was busy. In all they take $((cpu_sum / 1000)) s of processor time and, one
after another, $((wall_sum / 1000)) s; \`make test\` runs several at a time. Tests below 0.2 s of processor time are left out.

| CPU | time | | result | package | test |
|---|---|---|---|---|---|
EOF
sort -rn <<<"$rows" | awk '$1 >= 0.2 {printf "| %.1f | %.1f | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5, $6}'
