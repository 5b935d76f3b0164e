#!/usr/bin/env bash
# test-readme.sh runs the commands of README.md, read from it as they stand, in a Debian
# that has nothing but Go and git: a tree made by debootstrap, with mounts, processes and
# a host name of its own. For what it is short of a machine:
#   - Go is this machine's, copied, with what it has compiled and downloaded before; apt
#     has debootstrap's source;
#   - `make test` takes a quarter of an hour and is left out without FULL=1;
#   - `make demo` gets the Ctrl-C that its reader would press; `turnwarden run` runs in
#     the background, and without the ZooKeeper servers that its file names;
#   - systemd is there, and is not booted.
# TREE=DIR keeps the tree, and takes it as it is if it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in debootstrap unshare chroot go git; do
	command -v "$program" >/dev/null || { echo "test-readme: $program is missing: install it" >&2; exit 1; }
done
((EUID == 0)) || { echo 'test-readme: debootstrap takes root' >&2; exit 1; }

if [[ ! ${TREE:-} ]]; then
	TREE=$(mktemp -d /var/tmp/turnwarden-readme.XXXXXX)
	trap 'rm -rf --one-file-system "$TREE"' EXIT
fi
if [[ ! -x $TREE/usr/bin/git ]]; then
	debootstrap --variant=minbase --include=git,ca-certificates,systemd bookworm "$TREE"
fi
[[ -d $TREE/usr/local/go ]] || cp -a "$(go env GOROOT)" "$TREE/usr/local/go"
rm -rf "$TREE/root/turnwarden"
git clone --quiet . "$TREE/root/turnwarden"
cp -L /etc/resolv.conf /etc/hosts "$TREE/etc/"

# The blocks of README.md: shell under a heading, and the first one of YAML.
block() { # KIND HEADING
	awk -v kind="\`\`\`$1" -v heading="## $2" '$0 == heading {on = 1} /^## / && $0 != heading {on = 0} /^```$/ {if (inside) n++; inside = 0}
		inside {print} on && $0 == kind && !n {inside = 1}' README.md
}
block sh 'Try it' >"$TREE/root/try"
block sh 'Five minutes to a real node' >"$TREE/root/five"
install -D -m 644 <(block yaml 'Five minutes to a real node') "$TREE/etc/turnwarden/turnwarden.yml"
printf 'lt-cred-mech\nrealm=turn.example.org\n' >"$TREE/etc/turnserver.conf.wanted"
grep -q 'make demo' "$TREE/root/try" && grep -q 'turnwarden run' "$TREE/root/five" || { echo 'test-readme: README.md has no such blocks any more' >&2; exit 1; }

cat >"$TREE/root/inside" <<'END'
set -euo pipefail
export PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive
export GOPROXY=file:///mnt/download GONOSUMDB='*' GOFLAGS=-modcacherw GOTOOLCHAIN=local GOCACHE=/mnt/compiled # go.sum says what the modules are
cd /root/turnwarden
say() { printf '\n$ %s\n' "$*"; }
none_left() { ! grep -ls '^turnserver$' /proc/[0-9]*/comm || { echo 'a turnserver is left'; return 1; }; }
while read -r command; do
	command=${command%%  #*}
	case $command in
	'') ;;
	'make demo')
		say "$command, until it says Ctrl-C"
		# What a script starts in the background ignores Ctrl-C, unless it is told not to.
		env --default-signal=INT setsid $command </dev/null >/root/demo.log 2>&1 &
		demo=$!
		until grep -q 'running until Ctrl-C' /root/demo.log; do
			kill -0 $demo 2>/dev/null || { cat /root/demo.log; exit 1; }
			sleep 1
		done
		kill -INT -- -$demo
		wait $demo || true
		grep -E 'freeTraffic|"code" : "ok"|tot_recv_bytes' /root/demo.log # a record, a credential, a relayed packet
		none_left
		;;
	'make test')
		if [[ ${FULL:-} ]]; then say "$command"; $command; else say "$command: left out, FULL=1 runs it"; fi
		;;
	*) say "$command"; bash -c "$command" </dev/null ;;
	esac
done </root/try

# The node is alone on a network of its own: its ports are the ones of the documents.
unshare --net bash -euo pipefail <<'ALONE'
ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth0 up; ip link set eth1 up
ip addr add 10.0.0.5/24 dev eth0; ip route add default via 10.0.0.1
mount -t sysfs sysfs /sys
install -D -m 644 /etc/turnserver.conf.wanted /etc/turnserver.conf
while read -r command; do
	printf '\n$ %s\n' "$command"
	case $command in
	'turnwarden run '*)
		setsid $command >/root/node.log 2>&1 </dev/null &
		node=$!
		until curl -sf http://127.0.0.1:13479/-/ready; do
			kill -0 $node 2>/dev/null || { cat /root/node.log; exit 1; }
			sleep 0.5
		done
		;;
	'turnwarden doctor '*) # warnings and errors are what it is for
		code=0; bash -c "$command" || code=$?
		((code == 0 || code == 3 || code == 4)) || exit 1 ;;
	'systemctl '*) bash -c "$command" </dev/null 2>&1 | tee /root/systemctl.log || grep -q 'not been booted' /root/systemctl.log ;;
	*) bash -c "$command" </dev/null ;;
	esac
done </root/five
turnwarden status
curl -sf http://127.0.0.1:13478/turncredential | grep -q '"code" : "ok"'
kill $node
wait $node
! grep -qs '^turnserver$' /proc/[0-9]*/comm
ALONE
echo
echo 'README.md: every command did what it says'
END

export TREE FULL="${FULL:-}"
GOMODCACHE=$(go env GOMODCACHE) GOCACHE=$(go env GOCACHE)
export GOMODCACHE GOCACHE
unshare --mount --pid --uts --ipc --fork --kill-child bash -euo pipefail <<'END'
hostname turn-1
mount -t proc proc "$TREE/proc"
mount --rbind /dev "$TREE/dev"
mount -t sysfs sysfs "$TREE/sys"
mount -t tmpfs tmpfs "$TREE/run"
mkdir -p "$TREE/mnt/download" "$TREE/mnt/compiled"
mount --bind "$GOCACHE" "$TREE/mnt/compiled"
mount --bind -o ro "$GOMODCACHE/cache/download" "$TREE/mnt/download"
exec chroot "$TREE" env -i FULL="$FULL" TERM=dumb bash /root/inside </dev/null
END
