package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
)

// hurried is how much shorter than shipped every duration of the rules is in the
// test: ranges, `for`s and intervals alike, so that their relations stay.
const hurried = 30

// hurry divides the durations of a rule file.
func hurry(t *testing.T, rules string) string {
	t.Helper()
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	shorter := regexp.MustCompile(`(for: |interval: |offset |\[)(\d+)([smhd])`).ReplaceAllStringFunc(rules, func(s string) string {
		m := regexp.MustCompile(`^(\D+)(\d+)([smhd])$`).FindStringSubmatch(s)
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s%dms", m[1], max(time.Second, time.Duration(n)*units[m[3]]/hurried).Milliseconds())
	})
	// How long a node is missed is no limit that a test could wait for: it may take longer.
	shorter = strings.ReplaceAll(shorter, fmt.Sprintf("[%dms]", time.Hour.Milliseconds()/hurried), "[1h]")
	// The one age that is written as a number of seconds.
	if stale := "clamp_min(3 * turnwarden_traffic_interval_seconds, 90)"; strings.Contains(shorter, "TurnRecordStale") {
		if !strings.Contains(shorter, stale) {
			t.Fatalf("no %q in the rules", stale)
		}
		shorter = strings.Replace(shorter, stale, strings.Replace(stale, "90", strconv.Itoa(90/hurried), 1), 1)
	}
	return shorter
}

// scene is a fleet that a Prometheus has found through ZooKeeper, with the
// dashboards, rules and examples that turnwarden has written.
type scene struct {
	t     *testing.T
	dir   string // of dashboards and rules
	z     *realtest.ZooKeeper
	p     *realtest.Prometheus
	hosts map[string]*host
	load  atomic.Int64 // bytes a second on lo

	token    string            // that nodes want
	tokens   string            // what their file of it says
	gates    []*gatewayProcess // three are two of one job, and one of a job of its own
	gateConf map[string]string

	known   []string          // names of labels that a series of ours has
	raised  map[string]bool   // alerts, by name
	becomes map[string]string // what an alert follows where a fault lasts, by the alert
}

func newScene(t *testing.T, gates int) *scene {
	t.Helper()
	w := &scene{t: t, dir: t.TempDir(), z: realtest.StartZooKeeper(t), hosts: map[string]*host{}, raised: map[string]bool{}}
	if out, code := finish(turnwarden("dashboards", "--out", w.dir)); code != codeOK {
		t.Fatalf("turnwarden dashboards: %d %s", code, out)
	}
	for _, name := range []string{"rules/turnwarden.rules.yml", "rules/turnwarden.alerts.yml"} {
		file := filepath.Join(w.dir, name)
		if err := os.WriteFile(file, []byte(hurry(t, w.read(name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.gateways(gates)
	targets := fmt.Sprintf("      - targets: [%q]", w.gates[0].instance())
	if gates > 1 {
		targets = fmt.Sprintf("      - targets: [%q, %q]\n  - job_name: turnwarden-gateway-b\n    static_configs:\n      - targets: [%q]",
			w.gates[0].instance(), w.gates[1].instance(), w.gates[2].instance())
	}
	config := w.read("provisioning/prometheus/prometheus.yml")
	for shipped, ours := range map[string]string{
		`      - targets: ["gw1:13481", "gw2:13481"]`: targets,
		`["zk1:2181", "zk2:2181", "zk3:2181"]`:        `["` + w.z.Addr() + `"]`,
		"scrape_interval: 15s":                        "scrape_interval: 2s",
		"evaluation_interval: 15s":                    "evaluation_interval: 1s",
		"/etc/prometheus/rules/turnwarden.*.yml":      filepath.Join(w.dir, "rules/turnwarden.*.yml"),
		"# - {source_labels":                          "- {source_labels", // the region is the beginning of the name
	} {
		if !strings.Contains(config, shipped) {
			t.Fatalf("no %q in\n%s", shipped, config)
		}
		config = strings.ReplaceAll(config, shipped, ours)
	}
	w.p = realtest.StartPrometheus(t, config)
	w.traffic()
	return w
}

// gateways starts n of them, with a client that asks each of them all the time.
func (w *scene) gateways(n int) {
	w.t.Helper()
	secret, line, err := transport.NewToken("gateway")
	if err != nil {
		w.t.Fatal(err)
	}
	dir := w.t.TempDir()
	file := filepath.Join(dir, "token")
	w.token, w.tokens = secret, line+"\n"
	for name, content := range map[string]string{file: secret, filepath.Join(w.dir, "tokens"): w.tokens} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.gateConf = map[string]string{"registry.session_timeout": "6s", "gateway.node.token_file": file, "gateway.node.hosts": "[127.0.0.0/8]", "gateway.node.insecure_http": "true"}
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for range n {
		g := startGateway(w.t, []string{w.z.Addr()}, w.gateConf)
		w.gates = append(w.gates, g)
		clients.Go(func() { everySecond(ctx, 1, func() { _, _ = g.fetch("") }) })
	}
	w.t.Cleanup(func() {
		cancel()
		clients.Wait()
	})
}

// stranger is the configuration of a gateway with a token that no node knows.
func (w *scene) stranger() map[string]string {
	w.t.Helper()
	set := maps.Clone(w.gateConf)
	set["gateway.node.token_file"] = filepath.Join(w.dir, "stranger")
	unknown, _, err := transport.NewToken("stranger")
	if err == nil {
		err = os.WriteFile(set["gateway.node.token_file"], []byte(unknown), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

// instance is the name that Prometheus has for a host: where its web listener is.
func (h *host) instance() string { return net.JoinHostPort(h.ip, fmt.Sprint(h.web)) }

func (w *scene) read(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

// traffic sends w.load bytes a second over lo until the test ends.
func (w *scene) traffic() {
	w.t.Helper()
	peer, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := net.Dial("udp", peer.LocalAddr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			if _, _, err := peer.ReadFrom(buf); err != nil {
				return
			}
		}
	})
	all.Go(func() {
		const packet = 10_000
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		owed, before := 0.0, time.Now()
		for ctx.Err() == nil {
			now := <-tick.C
			owed, before = owed+float64(w.load.Load())*now.Sub(before).Seconds(), now
			for ; owed >= packet; owed -= packet {
				_, _ = conn.Write(make([]byte, packet))
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		_ = conn.Close()
		_ = peer.Close()
		all.Wait()
	})
}

// add starts a node. Its region is its name up to the dash.
func (w *scene) add(name string, o options) *host {
	w.t.Helper()
	set := map[string]string{"node": name, "registry.zone": "a", "traffic.interface": "lo", "registry.session_timeout": "6s", "coturn.stop_timeout": "1s", "probe.interval": "2s", "api.tokens_file": filepath.Join(w.dir, "tokens")}
	maps.Copy(set, o.set)
	o.zookeeper, o.set = []string{w.z.Addr()}, set
	h := newHost(w.t, o)
	h.webConfig = filepath.Join(h.dir, "web.yml")
	h.write(w.t, h.webConfig, "")
	w.hosts[name] = h
	h.start(w.t)
	return h
}

// call asks a node for a credential and holds an allocation with it.
func (w *scene) call(name string) (hangUp func()) {
	w.t.Helper()
	h := w.hosts[name]
	client, err := transport.NewClient(transport.ClientConfig{URL: "http://" + h.rest(), Token: service.Secret(w.token)})
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := client.Credential(w.t.Context(), service.CredentialRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	return holdAllocation(w.t, h.addr(), seed{UserID: c.Username, Password: c.Password.Reveal()})
}

// alerts are those that fire now: the name, and the node or the region.
func (w *scene) alerts() []string {
	w.t.Helper()
	var all []string
	for _, s := range w.p.Query(w.t, `ALERTS{alertstate="firing"}`) {
		who := s.Labels["instance"]
		if who == "" {
			who = s.Labels["region"]
		}
		all = append(all, strings.TrimSpace(s.Labels["alertname"]+" "+who))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// slack is what a busy machine may add to the time that an alert takes.
const slack = 30 * time.Second

// fire waits until exactly these alerts fire, each by its time at the latest, and no
// other does for three seconds on end: a machine that does not run us for a while may
// add one for a moment. Where that is seen, at a scrape that took longer than half of
// the two seconds it has, the time counts anew: what an alert waits for may have, too.
func (w *scene) fire(want map[string]time.Duration) {
	w.t.Helper()
	names := slices.Sorted(maps.Keys(want))
	for _, a := range names {
		name, _, _ := strings.Cut(a, " ")
		w.raised[name] = true
	}
	poll := time.NewTicker(250 * time.Millisecond)
	defer poll.Stop()
	begin := time.Now()
	counted := begin // from here
	var since time.Time
	first, took := map[string]time.Duration{}, map[string]time.Duration{}
	realtest.Eventually(w.t, 8*time.Minute, func() error {
		<-poll.C
		if slow := w.p.Query(w.t, `max(scrape_duration_seconds{job=~"turnwarden.*"}) > 1`); len(slow) > 0 {
			w.t.Logf("starved after %v: a scrape took %.1f s", time.Since(begin).Round(time.Second), slow[0].Value)
			counted = time.Now()
		}
		got := w.alerts()
		for _, a := range got {
			if _, ok := first[a]; !ok {
				first[a], took[a] = time.Since(begin), time.Since(counted)
			}
		}
		for i, a := range got {
			if _, seen := first[w.becomes[a]]; seen {
				got[i] = w.becomes[a]
			}
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, names) {
			since = time.Time{}
			return fmt.Errorf("firing\n\t%s\nwant\n\t%s\nfirst seen %v", strings.Join(got, "\n\t"), strings.Join(names, "\n\t"), first)
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < 3*time.Second {
			return fmt.Errorf("firing as wanted for %v", time.Since(since))
		}
		return nil
	})
	if len(want) == 0 {
		w.t.Logf("nothing fires after %v", time.Since(begin).Round(time.Second))
	}
	for _, a := range slices.Sorted(maps.Keys(first)) {
		by, wanted := want[a]
		if wanted && took[a] > by+slack {
			w.t.Errorf("%s fired after %v, %v since the machine was last starved, want %v at the latest", a, first[a], took[a], by)
		} else if wanted || len(want) > 0 {
			w.t.Logf("%-40s after %5.1f s, bound %v", a, first[a].Seconds(), by)
		}
	}
}

// broken is a program that does as asked until the file is there, and then as told.
func (w *scene) broken(program, then string) (path, flag string) {
	w.t.Helper()
	dir := w.t.TempDir()
	path, flag = filepath.Join(dir, program), filepath.Join(dir, "broken")
	script := fmt.Sprintf("#!/bin/sh\nif [ -e %s ]; then\n%s\nfi\nexec %s \"$@\"\n", flag, then, program)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		w.t.Fatal(err)
	}
	return path, flag
}

// seen waits until Prometheus scrapes each node and gateway, and the rules have recorded what it saw.
func (w *scene) seen() {
	w.t.Helper()
	realtest.Eventually(w.t, 4*time.Minute, func() error {
		if n := len(w.p.Query(w.t, `up{job=~"turnwarden.*"} == 1`)); n != len(w.hosts)+len(w.gates) {
			return fmt.Errorf("%d of %d nodes and %d gateways are scraped", n, len(w.hosts), len(w.gates))
		}
		if n := len(w.p.Query(w.t, `region:turnwarden_until_80_percent_seconds:deriv14d`)); n == 0 {
			return fmt.Errorf("the last rule has recorded nothing")
		}
		return nil
	})
}
