package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// suites are those whose coturn is run, the oldest first. The last moves on.
var suites = []string{"bullseye", "bookworm", "trixie", "sid"}

// TestCoturnReleases is the life of a node on every coturn that Debian ships, as `make
// test-coturn` runs it. It prints what works on which, and writes it where
// TURNWARDEN_COTURN_REPORT says. TURNWARDEN_COTURN chooses suites; all are "all".
func TestCoturnReleases(t *testing.T) {
	chosen := strings.Fields(os.Getenv("TURNWARDEN_COTURN"))
	switch {
	case len(chosen) == 0:
		t.Skip("it takes minutes and a network: make test-coturn")
	case slices.Equal(chosen, []string{"all"}):
		chosen = suites
	}
	m := &matrix{cells: map[[2]string]string{}}
	for _, suite := range chosen {
		t.Run(suite, func(t *testing.T) {
			c := realtest.FetchCoturn(t, suite)
			v, err := coturn.DetectVersion(t.Context(), c.Turnserver)
			if err != nil {
				t.Fatal(err)
			}
			if v.Untried() {
				t.Logf("%s has moved on: coturn %v, and the newest that is known is %v", suite, v, coturn.Newest)
			}
			life := &life{c: c, version: v, m: m, column: fmt.Sprintf("%s (%s)", c.Package, suite)}
			m.columns = append(m.columns, life.column)
			t.Run("one node", life.oneNode)
			life.step(t, "`coturn.cli: false`: sockets are counted", life.withoutCLI)
			life.step(t, "`unauthorized-ratelimit` amid strangers: stays ready", life.strangers)
			life.step(t, "mode `secret`: served; revoke --user", life.secret)
		})
	}
	t.Logf("\n%s", m)
	if path := os.Getenv("TURNWARDEN_COTURN_REPORT"); path != "" && !t.Failed() {
		m.write(t, path)
	}
}

// matrix is what works on which release.
type matrix struct {
	columns, rows []string
	cells         map[[2]string]string // by row and column
	notes         []string
}

// mark says how a step went; why explains what is not whole and coturn's own doing.
func (m *matrix) mark(row, column string, ok bool, why string) {
	if !slices.Contains(m.rows, row) {
		m.rows = append(m.rows, row)
	}
	cell := "✔"
	switch {
	case !ok:
		cell = "✘"
	case why != "":
		i := slices.Index(m.notes, why)
		if i < 0 {
			i, m.notes = len(m.notes), append(m.notes, why)
		}
		cell = fmt.Sprintf("◐ %d", i+1)
	}
	m.cells[[2]string{row, column}] = cell
}

func (m *matrix) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|---|%s\n", strings.Join(m.columns, " | "), strings.Repeat("---|", len(m.columns)))
	for _, row := range m.rows {
		b.WriteString("| " + row + " |")
		for _, column := range m.columns {
			b.WriteString(" " + m.cells[[2]string{row, column}] + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, note := range m.notes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	return b.String()
}

// write puts the matrix between the two marks of a document.
func (m *matrix) write(t *testing.T, path string) {
	t.Helper()
	const begin, end = "<!-- make test-coturn writes this -->\n", "<!-- to here -->"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := bytes.Cut(data, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		t.Fatalf("%s has no place for the matrix", path)
	}
	if err := os.WriteFile(path, slices.Concat(head, []byte(begin+m.String()+end), tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// life is that of a node on one release.
type life struct {
	c       realtest.Coturn
	version coturn.Version
	m       *matrix
	column  string

	h         *host
	zk        *zk.Conn
	cert, key string
	tls       string // address of the TLS listener
}

// step runs one row. What it returns is why it is not all that it could be.
func (l *life) step(t *testing.T, row string, f func(t *testing.T) (why string)) {
	t.Helper()
	why, chosen := "", false
	began := time.Now()
	ok := t.Run(row, func(t *testing.T) { chosen, why = true, f(t) })
	if !chosen {
		return // -run left it out
	}
	t.Logf("%s: %s: %t after %v", l.column, row, ok, time.Since(began).Round(time.Millisecond))
	l.m.mark(row, l.column, ok, why)
}

func (l *life) options(o options) options {
	set := map[string]string{"coturn.turnserver": l.c.Turnserver, "coturn.turnadmin": l.c.Turnadmin}
	maps.Copy(set, o.set)
	o.set = set
	return o
}

func (l *life) oneNode(t *testing.T) {
	now := time.Now()
	l.cert, l.key = realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 30))
	z := realtest.StartZooKeeper(t)
	ip := realtest.Loopback(t)
	port := realtest.FreePort(t, ip)
	l.h = installed(t, l.options(options{
		zookeeper: []string{z.Addr()}, conf: []string{"cert=" + l.cert, "pkey=" + l.key, fmt.Sprintf("tls-listening-port=%d", port)},
	}))
	l.zk = z.Client(t)
	l.tls = net.JoinHostPort(l.h.ip, fmt.Sprint(port))
	l.step(t, "found, started, ready, its record listed", l.detect)
	if t.Failed() {
		return
	}
	l.step(t, "serves UDP, TCP and TLS", l.serve)
	l.step(t, "counts logins refused, calls made and open", l.count)
	l.step(t, "counts payload relayed", l.payload)
	l.step(t, "rotate: old and new are valid", l.rotate)
	l.step(t, "revoke --all ends calls over UDP and TCP", l.revoke)
	l.step(t, "drain waits for calls, and refuses new ones", l.drain)
	l.step(t, "resume amid a drain keeps calls", l.resume)
	l.step(t, "reload serves a new certificate", l.reload)
	l.step(t, "upgrade: same server, calls and counts go on", l.upgrade)
	l.step(t, "killed: serves again", l.kill)
	l.step(t, "hung: unlisted, then replaced", l.hang)
	l.step(t, "SIGTERM: record, then server, then HTTP; exit 0", l.stop)
}

func (l *life) detect(t *testing.T) string {
	l.h.serve(t)
	listed(t, l.zk, 20*time.Second)
	log := l.h.log(t)
	if want := "coturn=" + l.version.String(); !strings.Contains(log, want) {
		t.Errorf("the log has no %q", want)
	}
	if !strings.HasPrefix(l.c.Package, l.version.String()) {
		t.Errorf("found coturn %v, and the package is %s", l.version, l.c.Package)
	}
	if strings.Contains(log, "level=WARN part=preflight") || strings.Contains(log, "Bad configuration format") {
		t.Error("turnserver does not know a line of its configuration")
	}
	return ""
}

func (l *life) serve(t *testing.T) string {
	s := mustFetch(t, l.h.rest())
	secured, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", l.tls, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	overTLS := newCall(t, "udp", l.h.addr().String(), s)
	overTLS.conn = secured
	calls := []*call{overTLS, newCall(t, "tcp", l.h.addr().String(), s), newCall(t, "udp", l.h.addr().String(), s)}
	for i, c := range calls {
		if code := c.request(t, stun.MethodAllocate, requestedUDP{}); code != 0 {
			t.Errorf("%s: allocate: %d", []string{"tls", "tcp", "udp"}[i], code)
		}
	}
	alive(t, calls)
	hangUp(t, calls)
	return ""
}

// settled waits until no call is open, and none is left that may be a probe's and is not
// counted before that is known.
func (l *life) settled(t *testing.T) {
	t.Helper()
	l.h.metricIs(t, "turnwarden_allocations", "0", 20*time.Second)
	last, since := -1, time.Now()
	realtest.Eventually(t, 20*time.Second, func() error {
		if now := l.number(t, "turnwarden_allocations_created_total"); now != last {
			last, since = now, time.Now()
		}
		if still := time.Since(since); still < 3*time.Second {
			return fmt.Errorf("%d calls made, for %v", last, still)
		}
		return nil
	})
}

// number reads a metric.
func (l *life) number(t *testing.T, series string) int {
	t.Helper()
	n, err := strconv.ParseFloat(l.h.metric(t, series), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// grows waits until series have grown by so much since before, and stay so.
func (l *life) grows(t *testing.T, before, by map[string]int) {
	t.Helper()
	for series, n := range by {
		l.h.metricIs(t, series, strconv.Itoa(before[series]+n), 20*time.Second)
	}
}

func (l *life) numbers(t *testing.T, all map[string]int) map[string]int {
	t.Helper()
	now := map[string]int{}
	for series := range all {
		now[series] = l.number(t, series)
	}
	return now
}

func (l *life) count(t *testing.T) string {
	truth := map[string]int{
		`turnwarden_auth_failures_total{cause="wrong_password"}`: 5, `turnwarden_auth_failures_total{cause="unknown_user"}`: 4,
		`turnwarden_refusals_total{code="401"}`: 9, "turnwarden_allocations_created_total": 7,
	}
	l.settled(t)
	before := l.numbers(t, truth)
	s := mustFetch(t, l.h.rest())
	for i := range 9 {
		wrong := s
		if wrong.Password = "wrong"; i >= 5 {
			wrong.UserID = fmt.Sprintf("nobody-%d", i)
		}
		if code := newCall(t, "udp", l.h.addr().String(), wrong).request(t, stun.MethodAllocate, requestedUDP{}); code != 401 {
			t.Errorf("login %d: %d, want 401", i, code)
		}
	}
	calls := l.h.callMany(t, s, 7)
	l.grows(t, before, truth)
	// Sooner than the census, which would mend what the log does not tell.
	l.h.metricIs(t, "turnwarden_allocations", "7", 8*time.Second)
	hangUp(t, calls)
	l.h.metricIs(t, "turnwarden_allocations", "0", 8*time.Second)
	if log := l.h.log(t); strings.Contains(log, "lines were forged or lost") || strings.Contains(log, "not understood") {
		t.Error("the count had to be mended")
	}
	for line := range strings.Lines(l.h.log(t)) {
		if !strings.Contains(line, "level=DEBUG") && (strings.Contains(line, s.UserID) && strings.Contains(line, "msg=turnserver") || strings.Contains(line, "nobody-")) {
			t.Errorf("a client is in the log: %s", line)
		}
	}
	return ""
}

// payload relays packets of 100 bytes to a peer, by channel, and their echo.
func (l *life) payload(t *testing.T) string {
	const packets, size = 20, 100
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := peer.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = peer.WriteTo(buf[:n], from)
		}
	}()
	series := map[string]int{"turnwarden_relay_receive_bytes_total": packets * size, "turnwarden_relay_transmit_bytes_total": packets * size}
	why := ""
	if !l.version.Before(coturn.Version{Major: 4, Minor: 11}) {
		series["turnwarden_relay_transmit_bytes_total"] += packets * 4
		why = "From 4.11 on coturn counts the header of each ChannelData packet to a peer as payload: 4 bytes too many."
	}
	before := l.numbers(t, series)
	c := l.h.callMany(t, mustFetch(t, l.h.rest()), 2)[1]
	if code := c.request(t, stun.MethodChannelBind, stun.RawAttribute{Type: stun.AttrChannelNumber, Value: []byte{0x40, 0x01, 0, 0}}, peerAt(peer.LocalAddr().(*net.UDPAddr).Port)); code != 0 {
		t.Fatalf("bind a channel: %d", code)
	}
	frame := append([]byte{0x40, 0x01, 0, size}, make([]byte, size)...)
	buf := make([]byte, 2048)
	for i := range packets {
		if _, err := c.conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := c.conn.Read(buf); err != nil || n != len(frame) {
			t.Fatalf("packet %d: %d bytes, %v", i, n, err)
		}
	}
	hangUp(t, []*call{c})
	l.grows(t, before, series)
	return why
}

type peerAt int

func (p peerAt) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: net.IPv4(127, 0, 0, 1), Port: int(p)}.AddToAs(m, stun.AttrXORPeerAddress)
}

func (l *life) rotate(t *testing.T) string {
	old := mustFetch(t, l.h.rest())
	if out, code := l.h.ask(t, "rotate"); code != 0 {
		t.Fatalf("rotate: %d\n%s", code, out)
	}
	next := mustFetch(t, l.h.rest())
	if next == old {
		t.Error("the same credential is handed out")
	}
	hangUp(t, []*call{dialCall(t, l.h.addr().String(), old), dialCall(t, l.h.addr().String(), next)})
	return ""
}

func (l *life) revoke(t *testing.T) string {
	old := mustFetch(t, l.h.rest())
	calls := l.h.callMany(t, old, 4)
	if out, code := l.h.ask(t, "revoke", "--all"); code != 0 {
		t.Fatalf("revoke: %d\n%s", code, out)
	}
	for i, c := range calls {
		if c.refresh(t) == 0 {
			t.Errorf("call %d goes on", i)
		}
	}
	if code := newCall(t, "udp", l.h.addr().String(), old).request(t, stun.MethodAllocate, requestedUDP{}); code != 401 {
		t.Errorf("the revoked credential: %d, want 401", code)
	}
	serves(t, l.h, mustFetch(t, l.h.rest()), 10*time.Second)
	l.h.metricIs(t, "turnwarden_allocations", "0", 8*time.Second)
	return ""
}

// draining has the node drain with calls, until it refuses new ones if it can.
func (l *life) draining(t *testing.T, calls int) (*asked, []*call) {
	t.Helper()
	all := l.h.callMany(t, mustFetch(t, l.h.rest()), calls)
	drain := l.h.begin(t, "drain", "--no-lock", "--then=hold", "--deadline=5m")
	l.h.drains(t)
	if l.version.CanDrain() {
		drain.said(t, "answers 403 to new calls")
	} else {
		drain.said(t, "cannot refuse new calls")
	}
	return drain, all
}

func (l *life) drain(t *testing.T) (why string) {
	s := mustFetch(t, l.h.rest())
	drain, calls := l.draining(t, 3)
	late := newCall(t, "udp", l.h.addr().String(), s)
	switch code := late.request(t, stun.MethodAllocate, requestedUDP{}); {
	case l.version.CanDrain() && code != 403:
		t.Errorf("a new call: %d, want 403", code)
	case !l.version.CanDrain() && code == 0:
		calls, why = append(calls, late), "Before 4.6.3 coturn takes calls that come all the same: nobody is sent here, and those who are get served."
	}
	alive(t, calls)
	select {
	case <-drain.exited:
		t.Fatal("the drain ended with calls open")
	case <-time.After(8 * time.Second): // in six, drain-min-allocations has cut calls
	}
	alive(t, calls)
	hangUp(t, calls)
	if out, code := drain.ends(t, time.Minute); code != 0 {
		t.Errorf("drain: %d\n%s", code, out)
	}
	if out, code := l.h.ask(t, "resume"); code != 0 {
		t.Errorf("resume: %d\n%s", code, out)
	}
	l.h.waitReady(t)
	return why
}

func (l *life) resume(t *testing.T) (why string) {
	drain, calls := l.draining(t, 2)
	resume := l.h.begin(t, "resume")
	if l.version.CanDrain() {
		resume.said(t, "cannot be told otherwise")
		why = "From 4.6.3 on a coturn that refuses new calls goes on to, and is replaced when its last call has ended."
	}
	alive(t, calls)
	hangUp(t, calls)
	for name, a := range map[string]*asked{"resume": resume, "the drain that was resumed": drain} {
		if out, code := a.ends(t, time.Minute); code != 0 {
			t.Errorf("%s: %d\n%s", name, code, out)
		}
	}
	l.h.waitReady(t)
	return why
}

func (l *life) reload(t *testing.T) string {
	now := time.Now()
	cert, key := realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 60))
	calls, before := l.h.open(t, 2), shown(t, l.tls)
	exchange(t, l.cert, cert)
	exchange(t, l.key, key)
	l.h.reloads(t, "a new certificate", 0, "served, by a handshake")
	if shown(t, l.tls).Equal(before) {
		t.Error("the old certificate is served")
	}
	alive(t, calls)
	hangUp(t, calls)
	return ""
}

func (l *life) upgrade(t *testing.T) string {
	l.settled(t)
	created := l.number(t, "turnwarden_allocations_created_total")
	child, calls := l.h.child(t), l.h.callMany(t, mustFetch(t, l.h.rest()), 5)
	l.h.metricIs(t, "turnwarden_allocations", "5", 8*time.Second)
	if out, code := l.h.ask(t, "upgrade"); code != 0 {
		t.Fatalf("upgrade: %d\n%s", code, out)
	}
	l.h.waitReady(t)
	alive(t, calls)
	if l.h.child(t) != child {
		t.Error("turnserver was replaced")
	}
	l.h.metricIs(t, "turnwarden_allocations", "5", 8*time.Second)
	hangUp(t, calls[:2])
	l.h.metricIs(t, "turnwarden_allocations", "3", 8*time.Second)
	calls = append(calls[2:], l.h.callMany(t, mustFetch(t, l.h.rest()), 2)...)
	l.h.metricIs(t, "turnwarden_allocations_created_total", strconv.Itoa(created+7), 8*time.Second)
	hangUp(t, calls)
	return ""
}

func (l *life) kill(t *testing.T) string {
	child := l.h.child(t)
	l.h.callMany(t, mustFetch(t, l.h.rest()), 3)
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.h.another(t, child, 20*time.Second)
	l.h.waitReady(t)
	l.h.metricIs(t, "turnwarden_allocations", "0", 8*time.Second)
	calls := l.h.open(t, 1)
	alive(t, calls)
	hangUp(t, calls)
	listed(t, l.zk, 20*time.Second)
	return ""
}

func (l *life) hang(t *testing.T) string {
	child := l.h.child(t)
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stated(t, l.zk, "down")
	l.h.another(t, child, time.Minute)
	l.h.waitReady(t)
	listed(t, l.zk, 20*time.Second)
	hangUp(t, l.h.open(t, 1))
	return ""
}

func (l *life) stop(t *testing.T) string {
	child := l.h.child(t)
	_, _, deleted, err := l.zk.ExistsW("/turn/servers/" + hostName(t))
	if err != nil {
		t.Fatal(err)
	}
	l.h.signal(t, syscall.SIGTERM)
	select {
	case <-deleted:
	case <-time.After(10 * time.Second):
		t.Fatal("the record outlived SIGTERM by 10 s")
	}
	if code := l.h.wait(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	gone(t, child, 0)
	order := stops(t, l.h)
	if registry, server, web := slices.Index(order, "registry"), slices.Index(order, "supervisor"), slices.Index(order, "web"); registry < 0 || registry > server || server > web {
		t.Errorf("stopped in the order %v", order)
	}
	return ""
}

func (l *life) withoutCLI(t *testing.T) string {
	h := newHost(t, l.options(options{set: map[string]string{"coturn.cli": "false"}}))
	h.serve(t)
	calls := h.callMany(t, mustFetch(t, h.rest()), 7)
	h.metricIs(t, "turnwarden_allocations", "7", 8*time.Second)
	alive(t, calls)
	hangUp(t, calls)
	h.metricIs(t, "turnwarden_allocations", "0", 8*time.Second)
	if out, code := finish(h.client("revoke", "--all")); code == 0 && !strings.Contains(out, "cli") {
		t.Errorf("revoke says nothing of what it cannot do: %s", out)
	}
	return ""
}

// strangers who ask from the probe's own address draw so many 401s that the probe's stranger
// gets none. For longer than three rounds take, that is no reason to restart turnserver.
func (l *life) strangers(t *testing.T) string {
	first := coturn.Version{Major: 4, Minor: 14}
	if l.version.Before(first) {
		return "`unauthorized-ratelimit` came with 4.14."
	}
	h := newHost(t, l.options(options{conf: []string{"unauthorized-ratelimit", "no-tcp"}}))
	h.serve(t)
	child := h.child(t)
	request := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), requestedUDP{})
	end, answered, sent := time.Now().Add(15*time.Second), 0, 0
	for time.Now().Before(end) {
		conn, err := net.Dial("udp", h.addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(request.Raw); err == nil {
			sent++
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1500)); err == nil {
			answered++
		}
		conn.Close()
	}
	if answered > sent/2 {
		t.Errorf("%d of %d strangers got an answer: coturn limits nothing", answered, sent)
	}
	if code, body, err := h.get("/-/ready"); err != nil || code != 200 {
		t.Errorf("ready: %d %s %v", code, body, err)
	}
	for line := range strings.Lines(h.log(t)) {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, "unauthorized") {
			t.Errorf("a probe failed: %s", line)
		}
	}
	if h.child(t) != child {
		t.Error("turnserver was restarted")
	}
	return ""
}

func (l *life) secret(t *testing.T) string {
	h := newHost(t, l.options(options{without: "lt-cred-mech", conf: []string{"use-auth-secret"}, set: map[string]string{"credentials.mode": "secret", "credentials.userdb": "sqlite"}}))
	h.serve(t)
	carol, dave := mustFetch(t, h.rest()+"/turncredential?userid=carol#"), mustFetch(t, h.rest()+"/turncredential?userid=dave#")
	hers, his := dialCall(t, h.addr().String(), carol), dialCall(t, h.addr().String(), dave)
	h.metricIs(t, "turnwarden_allocations", "2", 8*time.Second)
	if out, code := h.ask(t, "revoke", "--user=carol"); code != 0 || !strings.Contains(out, "1 ended") {
		t.Errorf("revoke: %d\n%s", code, out)
	}
	if hers.refresh(t) == 0 {
		t.Error("carol's call goes on")
	}
	alive(t, []*call{his})
	series := `turnwarden_auth_failures_total{cause="unknown_user"}`
	wrong := `turnwarden_auth_failures_total{cause="wrong_password"}`
	before := map[string]string{series: h.metric(t, series), wrong: h.metric(t, wrong)}
	dave.Password = "wrong"
	if code := newCall(t, "udp", h.addr().String(), dave).request(t, stun.MethodAllocate, requestedUDP{}); code != 401 {
		t.Errorf("a wrong password: %d, want 401", code)
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		if h.metric(t, series) == before[series] && h.metric(t, wrong) == before[wrong] {
			return errors.New("the refused login is not counted")
		}
		return nil
	})
	return ""
}
