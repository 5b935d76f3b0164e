package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// soak is two nodes and a gateway with everything on at once: a rotation each second,
// callers, visitors of every surface, and one fault after the other. Only one node is
// struck at a time, so that somebody always has room.
type soak struct {
	t        *testing.T
	rng      *rand.Rand
	z        *realtest.ZooKeeper
	c        *zk.Conn // of well; nil until it is needed
	g        *gatewayProcess
	steady   *host // its turnwarden is never ended: what it leaks, it keeps
	battered *host
	callers  *callers

	blows  []blow
	healed map[string]durations // from the blow until everybody is well again

	mu     sync.Mutex
	away   []absence // of turnwardens that were killed
	missed []miss
	visits map[string]int
	events map[string]int
	grown  map[string]map[string][]float64 // by process and resource
}

// absence is the time in which nobody could answer.
type absence struct {
	host     *host
	from, to time.Time
}

// miss is a visit that got no good answer.
type miss struct {
	host *host
	at   time.Time
	what string
}

// TestSoak keeps what every other test proves once true for TURNWARDEN_SOAK=30m:
// nobody is refused before the expiry that was promised, no caller of the gateway stays
// unanswered or is sent to a node later than its bound, no surface fails, there are never
// two servers, records are true, and nothing grows. TURNWARDEN_SOAK_SEED repeats the
// faults of a run, TURNWARDEN_SOAK_REPORT is where to write what was seen. It wants the
// machine for itself, as its bounds are those of nodes that have one.
func TestSoak(t *testing.T) {
	text := os.Getenv("TURNWARDEN_SOAK")
	if text == "" {
		t.Skip("runs by make soak, as the last step of .ci/run does")
	}
	lasts, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TURNWARDEN_SOAK_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("TURNWARDEN_SOAK_SEED=%d", seed)
	s := newSoak(t, seed)
	ctx, stop := context.WithCancel(t.Context())
	var watchers sync.WaitGroup
	for _, h := range []*host{s.steady, s.battered} {
		watchers.Go(func() { s.visit(ctx, h, nodeSurfaces(h)) })
		watchers.Go(func() { s.listen(ctx, h, h.webURL()+"/events") })
		watchers.Go(func() { s.listen(ctx, h, "http://"+h.rest()+"/v1/events") })
	}
	watchers.Go(func() { s.visit(ctx, &s.g.host, gatewaySurfaces(s.g)) })
	watchers.Go(func() { s.listen(ctx, &s.g.host, "http://"+s.g.rest()+"/v1/events") })
	watchers.Go(func() { s.look(ctx) })
	crowds := []*crowd{newCrowd(t, s.steady, 1), newCrowd(t, s.battered, 1)}
	defer func() { // also when a wait has failed
		stop()
		watchers.Wait()
		for _, c := range crowds {
			c.end()
		}
	}()

	began := time.Now()
	trials := s.trials()
	for n := 0; time.Since(began) < lasts || n < len(trials); n++ {
		if n%len(trials) == 0 { // each once before any is repeated
			s.rng.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
		}
		s.strike(trials[n%len(trials)])
		if t.Failed() {
			t.Fatalf("after %d faults, the last: %s", n+1, trials[n%len(trials)].name)
		}
	}
	took := time.Since(began)
	s.callers.stop()
	stop()
	watchers.Wait()
	var last time.Time
	allocations := int64(0)
	for _, c := range crowds {
		if told := c.end(); told.After(last) {
			last = told
		}
		allocations += c.allocations.Load()
	}
	s.judge(last)
	s.report(took, seed, allocations)
}

func newSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	s := &soak{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), z: realtest.StartZooKeeper(t),
		healed: map[string]durations{}, visits: map[string]int{}, events: map[string]int{}, grown: map[string]map[string][]float64{},
	}
	node := func(name string) *host {
		h := newHost(t, options{zookeeper: []string{s.z.Addr()}, set: map[string]string{
			"node": name, "registry.zone": name, "coturn.stop_timeout": "2s",
			"credentials.userdb": "sqlite", "credentials.rotate_every": "1s", "credentials.lifetime": "15s", // longer than a hang on a busy machine
		}})
		h.start(t)
		return h
	}
	s.steady, s.battered = node("steady"), node("battered")
	s.g = startGateway(t, []string{s.z.Addr()}, map[string]string{"gateway.agent_listen": realtest.Loopback(t) + ":13482"})
	s.well()
	s.callers = gather(t, s.g)
	return s
}

// well waits until both nodes are up for everybody: in a session with ZooKeeper that
// still stands, for what an old one has registered may be there for a moment more.
func (s *soak) well() {
	s.t.Helper()
	s.steady.waitReady(s.t)
	s.battered.waitReady(s.t)
	before := map[string]directory.Record{}
	realtest.Eventually(s.t, 40*time.Second, func() error {
		all, err := s.records(&s.c)
		if err != nil {
			return err
		}
		for _, node := range []string{"steady", "battered"} {
			r, known := all[node]
			if was, ok := before[node]; !ok && known {
				before[node] = r
			} else if ok && r.State == "up" && r.Seq != was.Seq {
				continue
			}
			return fmt.Errorf("%s has not written yet: %+v", node, r)
		}
		return nil
	})
	s.g.sees(s.t, 40*time.Second, map[string]string{"steady": "up", "battered": "up"})
}

// records are those of the fleet, read as somebody who has just come: a client that has
// lived through many deaths of its only server may take minutes to try again.
func (s *soak) records(c **zk.Conn) (map[string]directory.Record, error) {
	if *c == nil {
		// A handshake that is not answered ends after seven times the session timeout.
		conn, _, err := zk.Connect([]string{s.z.Addr()}, 2*time.Second, zk.WithLogger(log.New(io.Discard, "", 0)))
		if err != nil {
			return nil, err
		}
		*c = conn
		s.t.Cleanup(conn.Close)
	}
	all, err := records(*c, "/turn/servers")
	if err != nil {
		(*c).Close()
		*c = nil
	}
	return all, err
}

// trial is a fault, or planned work, that a host is to get over by itself.
type trial struct {
	name  string
	host  *host         // nil is either node
	bound time.Duration // until when clients may be sent to the host
	run   func(h *host)
}

// strike waits a moment, tries, and waits until everybody is well.
func (s *soak) strike(tr trial) {
	s.t.Helper()
	<-time.After(time.Duration(s.rng.Int64N(int64(2 * time.Second))))
	h := tr.host
	if h == nil {
		h = []*host{s.steady, s.battered}[s.rng.IntN(2)]
	}
	f := blow{tr.name, h, time.Now(), tr.bound, realtest.NewPace()}
	s.blows = append(s.blows, f)
	tr.run(h)
	s.well()
	s.healed[tr.name] = append(s.healed[tr.name], time.Since(f.at))
	for who, p := range map[string]*host{"steady": s.steady, "battered": s.battered, "gateway": &s.g.host} {
		s.measure(who, p)
	}
}

const (
	soakHung   = 3*time.Second + 2*time.Second + 2*time.Second // interval * fail_after + timeout + 1 s, and one for a machine that is all the others, too
	soakExpiry = 4*time.Second + 500*time.Millisecond + time.Second
	soakAtOnce = 2 * time.Second
)

func (s *soak) trials() []trial {
	return []trial{
		{"TURN server killed", nil, soakAtOnce, func(h *host) { s.replaced(h, syscall.SIGKILL) }},
		{"TURN server crashes", nil, soakAtOnce, func(h *host) { s.replaced(h, syscall.SIGSEGV) }},
		{"TURN server hangs", nil, soakHung, func(h *host) { s.replaced(h, syscall.SIGSTOP) }},
		{"turnwarden killed", s.battered, soakExpiry, func(h *host) {
			gone := absence{host: h, from: time.Now()}
			h.signal(s.t, syscall.SIGKILL)
			<-h.exited
			h.serve(s.t)
			gone.to = time.Now()
			s.mu.Lock()
			s.away = append(s.away, gone)
			s.mu.Unlock()
		}},
		{"upgraded in place", s.battered, 0, func(h *host) {
			child := h.child(s.t)
			s.asked(h, "upgrade")
			if now := h.child(s.t); now != child {
				s.t.Errorf("turnserver %d, and %d before the upgrade", now, child)
			}
		}},
		{"ZooKeeper killed and started again", nil, 0, func(*host) { s.z.Restart() }},
		{"ZooKeeper hangs for longer than a session", nil, 0, func(*host) {
			s.z.Pause()
			<-time.After(6 * time.Second) // the session timeout is 4 s
			s.z.Cont()
		}},
		{"drained", nil, soakAtOnce, func(h *host) {
			if out, code := h.ask(s.t, "drain", "--deadline=20s", "--then=hold"); code != codeOK {
				s.t.Errorf("drain: %d\n%s", code, out)
			}
			s.asked(h, "resume")
		}},
		{"restarted", nil, soakAtOnce, func(h *host) { s.asked(h, "restart", "--deadline=20s") }},
		{"in maintenance", nil, soakAtOnce, func(h *host) {
			s.asked(h, "maintenance", "on")
			s.asked(h, "maintenance", "off")
		}},
		{"rotated on request", nil, 0, func(h *host) { s.asked(h, "rotate") }},
		{"reloaded", nil, 0, func(h *host) { s.asked(h, "reload") }},
	}
}

func (s *soak) asked(h *host, args ...string) {
	s.t.Helper()
	if out, code := h.ask(s.t, args...); code != codeOK {
		s.t.Errorf("turnwarden %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
}

// replaced strikes the TURN server and waits for another.
func (s *soak) replaced(h *host, how syscall.Signal) {
	s.t.Helper()
	child := h.child(s.t)
	_ = syscall.Kill(child, how)
	realtest.Eventually(s.t, 30*time.Second, func() error {
		if now := h.child(s.t); now == 0 || now == child {
			return fmt.Errorf("child %d, was %d", now, child)
		}
		return nil
	})
}

func (h *host) webURL() string { return "http://" + h.ip + ":" + strconv.Itoa(h.web) }

func nodeSurfaces(h *host) []string {
	api := "http://" + h.rest()
	return []string{
		api + "/turncredential", api + "/turncredential?format=array", api + "/v1/ice", api + "/v1/turn?service=turn&username=alice", api + "/v1/status",
		h.webURL() + "/", h.webURL() + "/metrics", h.webURL() + "/-/healthy",
	}
}

func gatewaySurfaces(g *gatewayProcess) []string {
	api := "http://" + g.rest()
	return []string{
		api + "/turncredential", api + "/v1/ice", api + "/v1/pick?n=2", api + "/v1/fleet",
		g.webURL() + "/", g.webURL() + "/metrics", g.webURL() + "/-/healthy", g.webURL() + "/-/ready",
	}
}

// visit asks each surface several times a second, and notes what is not answered well.
func (s *soak) visit(ctx context.Context, h *host, urls []string) {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		url, at := urls[n%len(urls)], time.Now()
		code, body, err := get(url)
		s.mu.Lock()
		s.visits[h.ip]++
		if err != nil || code != http.StatusOK {
			s.missed = append(s.missed, miss{h, at, fmt.Sprintf("%s: %d %.80q %v", url, code, body, err)})
		}
		s.mu.Unlock()
		select {
		case <-pace.C:
		case <-ctx.Done():
		}
	}
}

// listen counts the events of a stream, and comes again when it ends.
func (s *soak) listen(ctx context.Context, h *host, url string) {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			s.t.Error(err)
			return
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "data:") {
					s.mu.Lock()
					s.events[url]++
					s.mu.Unlock()
				}
			}
			resp.Body.Close()
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// look checks what has to be true at every moment.
func (s *soak) look(ctx context.Context) {
	var c *zk.Conn
	pace := time.NewTicker(200 * time.Millisecond)
	defer pace.Stop()
	for ctx.Err() == nil {
		for _, h := range []*host{s.steady, s.battered} {
			if pids := turnservers(s.t, h.dir+"/state/turnserver.conf"); len(pids) > 1 {
				s.t.Errorf("turnservers of %s at once: %v", h.ip, pids)
			}
		}
		all, err := s.records(&c)
		if err == nil { // else ZooKeeper is away, or a node has just gone
			for node, r := range all {
				h := map[string]*host{"steady": s.steady, "battered": s.battered}[node]
				if h == nil || r.RESTAddr != h.rest() || (r.State == "up") != (r.FreeTraffic > 0) {
					s.t.Errorf("the record of %s: %+v", node, r)
				}
			}
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
		}
	}
}

// measure notes what a process holds in a quiet moment.
func (s *soak) measure(who string, h *host) {
	s.t.Helper()
	if s.grown[who] == nil {
		s.grown[who] = map[string][]float64{}
	}
	for _, series := range []string{"go_goroutines", "process_open_fds", "process_resident_memory_bytes"} {
		v, err := strconv.ParseFloat(h.metric(s.t, series), 64)
		if err != nil {
			s.t.Fatal(err)
		}
		s.grown[who][series] = append(s.grown[who][series], v)
	}
}

// growth compares the first with the last quarter of the run.
func growth(values []float64) (first, last float64) {
	quarter := max(1, len(values)/4)
	return realtest.Median(values[:quarter]), realtest.Median(values[len(values)-quarter:])
}

// judge is what has to be true in the end. Clients have been promised a credential
// until last.
func (s *soak) judge(last time.Time) {
	s.t.Helper()
	s.callers.blame(s.blows)
	for _, m := range s.missed {
		if !slices.ContainsFunc(s.away, func(a absence) bool {
			return a.host == m.host && m.at.After(a.from.Add(-5*time.Second)) && m.at.Before(a.to)
		}) {
			s.t.Errorf("%s %s", m.at.Format(time.StampMilli), m.what)
		}
	}
	for who, resources := range s.grown {
		for series, values := range resources {
			first, last := growth(values)
			room := 10.0
			if strings.HasSuffix(series, "_bytes") {
				room = 0.25*first + 32<<20
			}
			if last > first+room {
				s.t.Errorf("%s of %s has grown from %.0f to %.0f: %.0f", series, who, first, last, values)
			}
		}
	}
	for url, n := range s.events {
		if n == 0 {
			s.t.Errorf("no event from %s", url)
		}
	}
	<-time.After(time.Until(last)) // what was promised ends by the clock
	for _, h := range []*host{s.steady, s.battered} {
		realtest.Eventually(s.t, 30*time.Second, func() error { return onlyLiveUsers(h) })
		h.metricIs(s.t, "turnwarden_allocations", strconv.Itoa(s.left(h)), 30*time.Second)
		noPasswords(s.t, h, mustFetch(s.t, h.rest()).Password)
	}
}

// left is how many allocations clients have left behind when they went: those that last,
// for turnserver lists one of a probe as well, for a second.
func (s *soak) left(h *host) (n int) {
	s.t.Helper()
	seen := map[string]bool{}
	for range 2 {
		list, err := h.cli(s.t).List(s.t.Context(), "")
		if err != nil {
			s.t.Fatal(err)
		}
		n = 0
		for _, session := range list {
			if seen[session.ID] {
				n++
			}
			seen[session.ID] = true
		}
		<-time.After(3 * time.Second)
	}
	return n
}

// report says what was seen, and writes it down if that is wanted.
func (s *soak) report(took time.Duration, seed uint64, allocations int64) {
	s.t.Helper()
	var b strings.Builder
	visits := 0
	for _, n := range s.visits {
		visits += n
	}
	events := 0
	for _, n := range s.events {
		events += n
	}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		s.t.Error(err)
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(kernel)), "-")
	server, err := coturn.DetectVersion(s.t.Context(), "turnserver")
	if err != nil {
		s.t.Error(err)
	}
	fmt.Fprintf(&b, "%v, %d faults, seed %d; %d cores, Linux %s, coturn %v, %s.\n\n", took.Round(time.Second), len(s.blows), seed,
		runtime.NumCPU(), version, server, runtime.Version())
	fmt.Fprintf(&b, "* %d allocations with every credential that was ever handed out and had not expired: none refused.\n", allocations)
	fmt.Fprintf(&b, "* %d calls through the gateway: %d unanswered; the slowest answer took %v.\n", len(s.callers.calls), s.callers.unanswered, s.callers.worst.Round(time.Millisecond))
	fmt.Fprintf(&b, "* %d requests to every page, metric and API route: %d without a good answer, all while that turnwarden was killed. %d events.\n\n", visits, len(s.missed), events)
	b.WriteString("| Fault | Times | Everybody well again, median | Worst |\n|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(s.healed)) {
		d := s.healed[name]
		fmt.Fprintf(&b, "| %s | %d | %.1f s | %.1f s |\n", name, len(d), d.at(.5).Seconds(), d.at(1).Seconds())
	}
	b.WriteString("\n| Process | Goroutines, first and last quarter | Files | Memory, MiB |\n|---|---|---|---|\n")
	for _, who := range slices.Sorted(maps.Keys(s.grown)) {
		r := s.grown[who]
		cell := func(series string, unit float64) string {
			first, last := growth(r[series])
			return fmt.Sprintf("%.0f → %.0f", first/unit, last/unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", who, cell("go_goroutines", 1), cell("process_open_fds", 1), cell("process_resident_memory_bytes", 1<<20))
	}
	s.t.Log("\n" + b.String())
	if path := os.Getenv("TURNWARDEN_SOAK_REPORT"); path != "" && !s.t.Failed() {
		if err := os.WriteFile(path, []byte(soakIntroduction+b.String()), 0o644); err != nil { //nolint:gosec // a document
			s.t.Error(err)
		}
	}
}

const soakIntroduction = "# Soak\n\nWritten by `make soak SOAK=30m SOAK_REPORT=docs/soak.md`" + `: two nodes with a coturn each, one
ZooKeeper and a gateway, on one machine. Everything at once: a rotation each second,
clients that allocate with each credential they were ever given, callers that only know
the gateway, visitors of every surface, and a fault or planned work every few seconds.
The test fails if one client is refused before the promised expiry, a caller of the
gateway is not answered or is sent to a node later than its bound after a fault, a
surface fails while its turnwarden lives, two turnservers of a node are alive at once, a
record is untrue, a user is left in a userdb, or goroutines, files or memory grow.

`
