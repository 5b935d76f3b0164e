#!/usr/bin/env bash
# A whole node on a loopback address of its own: ZooKeeper, turnwarden with its
# coturn, and a Prometheus that finds the node in ZooKeeper. Shows the record, a
# credential and a relayed packet, runs until Ctrl-C (or for DEMO_SECONDS), and
# leaves nothing behind. `make demo` installs and builds what it needs first.
set -euo pipefail
cd "$(dirname "$0")/.."

ip=127.0.77.1 # all of 127.0.0.0/8 is this host: nothing else listens here
dir=$(mktemp -d)
pids=()

stop() {
	trap - EXIT INT TERM HUP
	printf '\nstopping: the record first, then coturn, then the rest\n'
	# In reverse, so that turnwarden finds ZooKeeper there to sign off from.
	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		kill "${pids[i]}" 2>/dev/null || true
		wait "${pids[i]}" 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 0' INT # the way to end it
trap 'exit 143' TERM HUP

# start NAME COMMAND... runs COMMAND in the background with its output in NAME.log.
# In a session of its own, so that Ctrl-C reaches this script alone and the order
# of stopping is ours.
start() {
	local name=$1
	shift
	setsid "$@" >"$dir/$name.log" 2>&1 &
	pids+=($!)
}

# until_ok WHAT NAME COMMAND... waits until COMMAND succeeds.
until_ok() {
	local what=$1 name=$2
	shift 2
	for ((i = 0; i < 300; i++)); do
		"$@" >/dev/null 2>&1 && return
		kill -0 "${pids[-1]}" 2>/dev/null || break
		sleep 0.1
	done
	printf '%s did not come up; its log ends:\n' "$what" >&2
	tail -n 20 "$dir/$name.log" >&2
	exit 1
}

zoojars=/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar
java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx128m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$zoojars")

mkdir "$dir/zk"
cat >"$dir/zoo.cfg" <<EOF
tickTime=500
dataDir=$dir/zk
clientPort=2181
clientPortAddress=$ip
admin.enableServer=false
4lw.commands.whitelist=srvr
EOF
echo "starting ZooKeeper on $ip:2181"
start zookeeper "${java[@]}" org.apache.zookeeper.server.ZooKeeperServerMain "$dir/zoo.cfg"
serving() { timeout 0.3 bash -c "exec 3<>/dev/tcp/$ip/2181 && echo srvr >&3 && grep -q Mode: <&3"; }
until_ok ZooKeeper zookeeper serving

cat >"$dir/turnserver.conf" <<EOF
listening-ip=$ip
relay-ip=$ip
min-port=20000
max-port=20999
lt-cred-mech
realm=demo.example.org
userdb=$dir/turndb
# For the echo below. Never in production: peers could reach this host's own ports.
allow-loopback-peers
EOF
cat >"$dir/turnwarden.yml" <<EOF
node: demo
coturn:
  config_file: $dir/turnserver.conf
credentials:
  state_dir: $dir/state
  lifetime: 10m
  rotate_every: 5m
traffic:
  capacity_mbps: 1000 # a loopback interface has no link speed
  interval: 2s
registry:
  zookeeper: ["$ip:2181"]
api:
  listen: $ip:13478
admin:
  socket: $dir/admin.sock
EOF
echo "starting turnwarden with coturn on $ip:3478"
start turnwarden bin/turnwarden run --config.file="$dir/turnwarden.yml" --web.listen-address="$ip:13479"
until_ok turnwarden turnwarden curl -fsS "http://$ip:13479/-/ready"

cat >"$dir/prometheus.yml" <<EOF
global: {scrape_interval: 2s}
scrape_configs:
  - job_name: turnwarden
    nerve_sd_configs:
      - servers: ["$ip:2181"]
        paths: [/turn/prometheus]
    relabel_configs:
      - {source_labels: [__meta_nerve_endpoint_name], target_label: instance}
EOF
echo "starting Prometheus on $ip:9090"
start prometheus prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" --web.listen-address="$ip:9090"
until_ok Prometheus prometheus curl -fsS "http://$ip:9090/-/ready"

record() {
	"${java[@]}" org.apache.zookeeper.ZooKeeperMain -server "$ip:2181" get /turn/servers/demo 2>/dev/null | grep '^{'
}
listed() { record | grep -q '"state":"up"'; }
until_ok 'the record' turnwarden listed

credential=$(curl -fsS "http://$ip:13478/turncredential")
field() { sed -n "s/.*\"$1\" : \"\([^\"]*\)\".*/\1/p" <<<"$credential"; }

start peer turnutils_peer -L "$ip" -p 13480
relayed=$(timeout 60 turnutils_uclient -c -e "$ip" -r 13480 -n 5 -m 1 -l 100 -u "$(field userid)" -w "$(field password)" "$ip" | grep -E 'tot_recv_bytes ~ [1-9]|Total lost' || true)

cat <<EOF

what a signalling server reads in ZooKeeper, at /turn/servers/demo:
$(record)

what it gets from the node, GET http://$ip:13478/turncredential:
$credential

what a client relays with that through coturn (5 packets of 100 bytes, echoed):
$relayed

look at
  http://$ip:13479/            the status page of the node
  http://$ip:13479/-/ready     whether the node serves, and why not
  http://$ip:13479/metrics     what Prometheus scrapes
  http://$ip:9090/targets      the node, found in ZooKeeper
  http://$ip:9090/graph?g0.expr=turnwarden_headroom_bytes_per_second*8/1e6&g0.tab=0
  $dir/turnwarden.log

try
  bin/turnwarden rotate --socket=$dir/admin.sock
  bin/turnwarden revoke --socket=$dir/admin.sock --all
  kill -9 \$(pgrep -f $dir/state/turnserver.conf)   # coturn is back at once, and /metrics counts it
EOF

if [[ ${DEMO_SECONDS:-} ]]; then
	echo "running for $DEMO_SECONDS s"
	sleep "$DEMO_SECONDS" &
else
	echo 'running until Ctrl-C'
	sleep infinity &
fi
sleeper=$!
wait "$sleeper" || true
kill "$sleeper" 2>/dev/null || true
