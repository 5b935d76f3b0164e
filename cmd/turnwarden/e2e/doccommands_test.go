package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// elsewhere are the commands that TestDocumentedCommands does not run, by how they begin:
// why, and what runs or checks them instead.
var elsewhere = []struct{ begins, why, instead string }{
	{"apt-get update", "the sandbox has no network", "make test-readme runs it in a tree that debootstrap makes"},
	{"apt-get install ./", "the sandbox has neither a network nor a package", "TestInstalledPackage"},
	{"turnwarden handover", "systemd does not run here", "TestInstalledPackage"},
	{"make ", "make test runs this test", "the target exists; TestReleaseIsReproducible and make test-readme build, CI tests"},
	{"go test ", "a test that runs tests", "the tests that -run names exist"},
	{"sudo make ", "make test runs this test", "the target exists"},
	{"ssh ", "there is no other host", "the same words are run without ssh"},
	{"sysctl -w ", "the setting is the machine's and no namespace's", "the keys are read"},
}

// outcome is how a command ends where that is not exit code 0, or what it needs. Only
// the commands that begin like this are meant.
type outcome struct {
	begins string
	before string // is run first
	codes  []int
	says   string
	stdin  string
	after  string // is run after it
	retry  bool   // it gives up after seconds, which a busy machine may need
	why    string
}

const aliceJSON = "curl -s http://10.0.0.5:13478/turncredential > alice.json"

var outcomes = []outcome{
	{begins: "turnwarden doctor", codes: []int{3, 4}, says: "checks without a finding", why: "a sandbox has open ends"},
	{begins: "turnwarden revoke --generation 17", codes: []int{1}, says: "no generation 17 is on record", why: "nobody rotated that often"},
	{begins: "turnwarden drain --then hold", after: "turnwarden resume"},
	{begins: "turnwarden maintenance on", after: "turnwarden maintenance off"},
	{begins: "turnwarden import", before: `turnadmin -a -b /var/lib/turn/turndb -u monitor-2 -r turn.example.org -p two &&
		printf '{"userid" : "monitor-2", "password" : "two", "expired_time" : %s000}' $(($(date +%s) + 3600)) > credential`},
	{begins: "turnwarden users prune", before: "turnadmin -a -b /var/lib/turn/turndb -u monitor-1 -r turn.example.org -p one", stdin: "yes\n", says: "deleted 1 of 1 user"},
	{begins: "turnwarden servers", codes: []int{0, 124}, says: "NODE", why: "with --watch it goes on until it is stopped"},
	{begins: "turnwarden probe turn:127.0.0.1", before: aliceJSON, codes: []int{15}, says: "Forbidden IP", why: "the example's turnserver.conf has allow-loopback-peers, which README.md's has not"},
	{begins: "turnwarden resume", codes: []int{0, 1}, says: "drain", why: "no drain is under way"},
	{begins: "turnwarden probe", before: aliceJSON, retry: true},
	{begins: "systemctl", codes: []int{0, 1, 3, 4}, why: "systemd does not run here"},
	{begins: "turnwarden check-config --config.file=/etc/turnwarden/turnwarden.yml && systemctl", codes: []int{1}, says: "are valid", why: "systemd does not run here"},
	{begins: "turnwarden check-config --config.file=/etc/turnwarden/gateway.yml && systemctl", codes: []int{1}, says: "is valid", why: "systemd does not run here"},
	{begins: `curl -s -H "Authorization: Bearer $(cat /etc/turnwarden/node-token)" https://NODE:13478/`, codes: []int{35}, why: "README.md's node has no TLS"},
	{begins: "curl -s http://HOST:13481/ | grep -o 'could not be asked", codes: []int{1}, why: "nothing is wrong with it"},
	{begins: "promtool check config /etc/prometheus/prometheus.yml && systemctl", codes: []int{1}, says: "SUCCESS", why: "systemd does not run here"},
	{begins: "journalctl", codes: []int{0, 1}, why: "there is no journal here"},
	{begins: "curl -s http://HOST:13479/metrics | grep '^turnwarden_probe_stage_success.* 0$'", codes: []int{1}, why: "no stage fails"},
	{begins: "curl -s http://HOST:13479/metrics | grep '^turnwarden_file_usable'", codes: []int{1}, why: "README.md's node has no files to watch"},
	{begins: "timedatectl", codes: []int{1}, says: "not been booted with systemd", why: "systemd does not run here"},
	{begins: "curl -s http://HOST:13479/-/ready | grep '^note: ", codes: []int{1}, why: "there is nothing of note"},
	{begins: "nft insert", before: "nft add table inet filter && nft add chain inet filter input '{ type filter hook input priority 0; }'"},
}

// mistaken is how programs speak of a command that is wrong in itself.
var mistaken = regexp.MustCompile(`(?i)command not found|syntax error|invalid option|unrecognized option|unknown (long |short )?flag|unknown option|failed to parse|No such file or directory`)

// TestDocumentedCommands runs every command of the documents as it stands, in their order, on
// a host of its own: with its own network, processes, host name, /etc and /var, the
// node of README.md, ZooKeeper and Prometheus.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	commands := 0
	var s *sandbox
	for _, path := range readingOrder(docs) {
		_, blocks := fences(t, path, docs[path])
		for _, b := range blocks {
			for _, command := range b.commands() {
				commands++
				if instead(t, path, command) {
					continue
				}
				if s == nil {
					s = newSandbox(t, docs)
				}
				s.check(path, command)
			}
		}
	}
	if commands < 80 {
		t.Errorf("%d commands found", commands)
	}
}

// readingOrder begins with what installs the rest.
func readingOrder(docs map[string]string) []string {
	var paths []string
	for path := range docs {
		if path != "README.md" {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return append([]string{"README.md"}, paths...)
}

// commands are the lines of a shell's block, and those after a prompt of any block.
func (b block) commands() (all []string) {
	shell := b.kind == "sh" || b.kind == "bash" || b.kind == "console"
	text := strings.ReplaceAll(b.text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line, prompt := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		line, _, _ = strings.Cut(line, "  #")
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && (prompt || shell && b.kind != "console") {
			all = append(all, line)
		}
	}
	return all
}

// TestCommandsAreSeen: no block that is taken for output has a command in it.
func TestCommandsAreSeen(t *testing.T) {
	programs := map[string]bool{}
	var others []block
	for path, data := range documents(t) {
		_, blocks := fences(t, path, data)
		for _, b := range blocks {
			for _, command := range b.commands() {
				programs[strings.Fields(command)[0]] = true
			}
			if b.kind == "" {
				others = append(others, b)
			}
		}
	}
	for _, b := range others {
		for line := range strings.Lines(b.text) {
			if words := strings.Fields(line); len(words) > 0 && programs[words[0]] {
				t.Errorf("%s: a block without a language has the command %s", b.path, line)
			}
		}
	}
}

// instead checks what is not run.
func instead(t *testing.T, path, command string) bool {
	t.Helper()
	makefile, err := os.ReadFile("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range elsewhere {
		rest, ok := strings.CutPrefix(command, e.begins)
		switch {
		case !ok:
			continue
		case strings.HasSuffix(e.begins, "make "):
			for target := range strings.FieldsSeq(rest) {
				if !strings.Contains(target, "=") && !regexp.MustCompile(`(?m)^([a-z-]+ )*`+regexp.QuoteMeta(target)+`( [a-z-]+)*:`).Match(makefile) {
					t.Errorf("%s: %s: the Makefile has no %s", path, command, target)
				}
			}
		case e.instead == "TestInstalledPackage":
			words := strings.Fields(e.begins)[:2]
			if !slices.Equal(words, aptInstall[:2]) && !slices.Equal(words, takeOver) {
				t.Errorf("%s: %s: %s does not run %s", path, command, e.instead, words)
			}
		case e.begins == "go test ":
			testsExist(t, path, command)
		case e.begins == "sysctl -w ":
			for setting := range strings.FieldsSeq(rest) {
				key, _, _ := strings.Cut(setting, "=")
				if _, err := os.Stat("/proc/sys/" + strings.ReplaceAll(key, ".", "/")); err != nil {
					t.Errorf("%s: %s: %v", path, command, err)
				}
			}
		}
		return true
	}
	return false
}

// testsExist looks for the tests that go test's -run or -bench names.
func testsExist(t *testing.T, path, command string) {
	t.Helper()
	m := regexp.MustCompile(`-(?:run|bench)[ =]'?([^' ]+)'?`).FindAllStringSubmatch(command, -1)
	words := strings.Fields(command)
	files, _ := filepath.Glob(filepath.Join("../../..", strings.TrimSuffix(words[len(words)-1], "/..."), "*_test.go"))
	var code strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(data)
	}
	for _, pattern := range m {
		if pattern[1] == "^$" || pattern[1] == "." {
			continue
		}
		for name := range strings.SplitSeq(pattern[1], "|") {
			name, _, _ = strings.Cut(strings.Trim(name, "^$"), "/")
			if !regexp.MustCompile(`func (Test|Benchmark|Fuzz)?` + name).MatchString(code.String()) {
				t.Errorf("%s: %s: there is no test %s", path, command, name)
			}
		}
	}
}

// sandbox is a shell on a host of its own, as far as the kernel can make one.
type sandbox struct {
	t     *testing.T
	dir   string
	stdin io.Writer
	lines *bufio.Scanner
}

func newSandbox(t *testing.T, docs map[string]string) *sandbox {
	t.Helper()
	realtest.Require(t, "unshare", "ip", "java", "turnserver", "turnadmin", "sqlite3", "prometheus", "promtool", "curl", "jq", "openssl", "ss", "nft", "nc", "top", "pidof")
	if os.Geteuid() != 0 {
		realtest.Missing(t, "namespaces and mounts need root")
	}
	s := &sandbox{t: t, dir: t.TempDir()}
	cmd := exec.Command("unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc", "bash")
	cmd.Dir = s.dir
	cert, key := realtest.Certificate(t, "turn.example.org", time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+cert, "LC_ALL=C")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdin, s.lines = stdin, bufio.NewScanner(stdout)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.dir, "node.log"))
			t.Logf("the log of the node:\n%s", log[max(0, len(log)-6000):])
		}
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.place("bin/turnwarden", 0o755, fmt.Sprintf("#!/bin/sh\nexec %s \"$@\"\n", program()))
	s.place("zoo.cfg", 0o644, "tickTime=500\ndataDir="+s.dir+"/zoo\nclientPort=2181\nadmin.enableServer=false\n4lw.commands.whitelist=*\n")
	for name, from := range map[string]string{"CERT": cert, "KEY": key} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		s.place(name, 0o644, string(data))
	}
	s.place("turnwarden.yml", 0o644, impatient(yamlBlock(t, docs, "README.md")))
	s.place("gateway.yml", 0o644, yamlBlock(t, docs, "docs/gateway.md"))
	s.place("setup", 0o755, setup)
	if out, code := s.run("./setup", "", time.Minute); code != 0 {
		realtest.Missing(t, fmt.Sprintf("no namespaces or mounts here: exit code %d\n%s", code, out))
	}
	return s
}

// impatient is the same node, for readers that need not be waited for as long.
func impatient(yaml string) string {
	return strings.Replace(yaml, "registry:\n", "registry:\n  session_timeout: 6s\n", 1) + "  interval: 1s\n"
}

// yamlBlock is the first one of a document.
func yamlBlock(t *testing.T, docs map[string]string, path string) string {
	t.Helper()
	_, blocks := fences(t, path, docs[path])
	i := slices.IndexFunc(blocks, func(b block) bool { return b.kind == "yaml" })
	if i < 0 {
		t.Fatalf("%s has no YAML", path)
	}
	return blocks[i].text
}

// setup makes the host: what its /etc/hosts says are the words that stand for hosts in the
// documents. Its disk is the machine's, but what is written is gone with it.
const setup = `#!/bin/bash
set -e
hostname NODE
ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth0 up
ip link set eth1 up
ip addr add 10.0.0.5/24 dev eth0
ip route add default via 10.0.0.1
for a in 10.20.0.9 192.0.2.1 192.0.2.7; do ip addr add $a/32 dev lo; done
mount -t sysfs sysfs /sys # which shows the interfaces of whom it was mounted by
mount -t tmpfs tmpfs /run
for d in etc var usr/local; do
	mkdir -p /run/over/$d/upper /run/over/$d/work
	mount -t overlay overlay -o lowerdir=/$d,upperdir=/run/over/$d/upper,workdir=/run/over/$d/work /$d
done
cat > /etc/hosts <<END
127.0.0.1 localhost HOST PROMETHEUS zk1 zk2 zk3
10.0.0.5 turn.example.org NODE
192.0.2.66 STRANGER
END
mkdir -p /etc/turnwarden /var/lib/turn zoo
cp turnwarden.yml gateway.yml /etc/turnwarden/
cp CERT KEY /etc/turnwarden/
bin/turnwarden token gateway | tee node-token.all | tail -1 > /etc/turnwarden/tokens
sed -n 2p node-token.all | tr -d ' ' > /etc/turnwarden/node-token
chmod 600 /etc/turnwarden/node-token
cp CERT /etc/turnwarden/ca.pem
cat > /etc/turnserver.conf <<END
lt-cred-mech
realm=turn.example.org
cert=/etc/turnwarden/CERT
pkey=/etc/turnwarden/KEY
min-port=40000
max-port=40999
END
j=/usr/share/java
jars=$j/zookeeper.jar:$j/slf4j-simple.jar:$j/commons-cli.jar:$j/jline2.jar:$j/jline.jar
cat > /usr/local/bin/zkCli.sh <<END
#!/bin/sh
exec java -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp $jars org.apache.zookeeper.ZooKeeperMain "\$@"
END
chmod 755 /usr/local/bin/zkCli.sh
java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
	-cp "$jars" org.apache.zookeeper.server.ZooKeeperServerMain zoo.cfg > zoo.log 2>&1 &
prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=tsdb --web.listen-address=127.0.0.1:9090 > prometheus.log 2>&1 &
for i in $(seq 300); do echo srvr | nc -w 2 zk1 2181 | grep -q Mode && curl -s http://127.0.0.1:9090/-/ready > /dev/null && exit 0; sleep 0.2; done
cat zoo.log prometheus.log
exit 1
`

func (s *sandbox) place(name string, mode os.FileMode, data string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), mode); err != nil {
		s.t.Fatal(err)
	}
}

// run has the shell of the sandbox run a command, as somebody who types it would. What
// takes longer than the limit is ended, exit code 124.
func (s *sandbox) run(command, stdin string, limit time.Duration) (out string, code int) {
	s.t.Helper()
	s.place("command", 0o644, command+"\n")
	s.place("stdin", 0o644, stdin)
	fmt.Fprintf(s.stdin, "timeout -k 5 %d bash -o pipefail command <stdin >out 2>&1; echo \"code $?\"\n", int(limit.Seconds()))
	if !s.lines.Scan() {
		s.t.Fatalf("the shell of the sandbox has ended: %v", s.lines.Err())
	}
	code, err := strconv.Atoi(strings.TrimPrefix(s.lines.Text(), "code "))
	if err != nil {
		s.t.Fatalf("the shell says %q", s.lines.Text())
	}
	b, err := os.ReadFile(filepath.Join(s.dir, "out"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b), code
}

func (s *sandbox) must(command string) {
	s.t.Helper()
	if out, code := s.run(command, "", 2*time.Minute); code != 0 {
		s.t.Fatalf("%s: exit code %d\n%s", command, code, out)
	}
}

// check runs a command of a document and looks at its outcome.
func (s *sandbox) check(path, command string) {
	s.t.Helper()
	want := outcome{codes: []int{0}}
	for _, o := range outcomes {
		if strings.HasPrefix(command, o.begins) {
			want = o
			if len(o.codes) == 0 {
				want.codes = []int{0}
			}
			break
		}
	}
	limit := 2 * time.Minute
	if slices.Contains(want.codes, 124) {
		limit = 15 * time.Second
	}
	for name, ready := range map[string]string{"run": "127.0.0.1:13479/-/ready", "gateway": "127.0.0.1:13481/-/healthy"} {
		if strings.HasPrefix(command, "turnwarden "+name+" ") {
			s.background(command, ready)
			return
		}
	}
	if installed := "test -x /usr/local/bin/turnwarden"; strings.HasPrefix(command, "turnwarden ") {
		if _, code := s.run(installed+" && test -e started", "", time.Minute); code == 0 {
			s.must(awake)
		}
	}
	if want.before != "" {
		s.must(want.before)
	}
	out, code := s.run(command, want.stdin, limit)
	wrong := func() bool {
		return !slices.Contains(want.codes, code) || !strings.Contains(out, want.says) || mistaken.MatchString(out)
	}
	if want.retry && wrong() {
		out, code = s.run(command, want.stdin, limit)
	}
	if wrong() {
		s.t.Errorf("%s: %s\nexit code %d, want %v with %q\n%s", path, command, code, want.codes, want.says, out)
	}
	if want.after != "" {
		s.must(want.after)
	}
}

// awake brings the node back after a command that has stopped it.
const awake = `ready() { # and registered, for a drain needs ZooKeeper
	m=$(curl -sf http://127.0.0.1:13479/metrics) && grep -q '^turnwarden_zookeeper_registered 1' <<< "$m" && curl -sf http://127.0.0.1:13479/-/ready > /dev/null
}
ready && exit
for i in $(seq 100); do kill -0 "$(cat node.pid)" 2>/dev/null || break; ready && exit; sleep 0.2; done
kill -0 "$(cat node.pid)" 2>/dev/null || { setsid turnwarden run --config.file=/etc/turnwarden/turnwarden.yml >> node.log 2>&1 < /dev/null & echo $! > node.pid; }
for i in $(seq 300); do ready && exit; sleep 0.2; done
curl -s http://127.0.0.1:13479/-/ready; exit 1`

// background starts what goes on, and waits until it serves.
func (s *sandbox) background(command, ready string) {
	s.t.Helper()
	name := strings.Fields(command)[1]
	if name == "run" {
		name = "node"
	}
	s.must(fmt.Sprintf("setsid %s >> %s.log 2>&1 < /dev/null & echo $! > %[2]s.pid; touch started\nfor i in $(seq 300); do curl -sf http://%s > /dev/null && exit 0; kill -0 $(cat %[2]s.pid) || break; sleep 0.2; done; cat %[2]s.log; exit 1", command, name, ready))
}
