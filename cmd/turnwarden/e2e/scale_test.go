package e2e

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"
	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/registry"
)

// TestScale has many nodes in one ZooKeeper, each with the registration that ships, a
// session of its own, and its record written on schedule; and a gateway that reads them.
//
// TURNWARDEN_SCALE=100,1000,5000 says how many, with the default interval, and logs what
// it costs: make scale. 1000x5 is 1,000 nodes and five gateways, of which one is measured;
// 5000@40s has sessions of 40 s, for a machine that is too busy for the default. Otherwise
// a few nodes show that all of it works.
func TestScale(t *testing.T) {
	interval, lasts, changes, sizes := time.Second, 3*time.Second, 30, "50"
	if s := os.Getenv("TURNWARDEN_SCALE"); s != "" {
		interval, lasts, changes, sizes = 10*time.Second, time.Minute, 600, s
	} else {
		t.Parallel()
	}
	for size := range strings.SplitSeq(sizes, ",") {
		numbers, session, _ := strings.Cut(size, "@")
		nodes, gateways, _ := strings.Cut(numbers, "x")
		session = cmp.Or(session, "10s")
		timeout, err := time.ParseDuration(session)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(nodes)
		if err != nil {
			t.Fatal(err)
		}
		beside, _ := strconv.Atoi(gateways)
		t.Run(size, func(t *testing.T) {
			z := realtest.StartZooKeeper(t)
			var g *gatewayProcess
			for range max(1, beside) {
				g = startGateway(t, []string{z.Addr()}, map[string]string{"registry.session_timeout": session})
			}
			stream := hear(t, "http://"+g.rest()+"/v1/events")
			c := startMany(t, z.Addr(), n, interval, timeout)
			c.seenBy(t, g)
			took := time.Since(c.began)
			c.rounds(t, 2) // until the first moments are over, and the virtual machine of ZooKeeper has warmed up

			zooBefore, gatewayBefore, writesBefore, began := usageOf(t, z.PID()), usageOf(t, g.cmd.Process.Pid), c.writes(), time.Now()
			<-time.After(lasts)
			zoo, gateway, writes, seconds := usageOf(t, z.PID()), usageOf(t, g.cmd.Process.Pid), c.writes()-writesBefore, time.Since(began).Seconds()
			if most := float64(n) * (seconds/(.9*interval.Seconds()) + 1); writes == 0 || float64(writes) > most {
				t.Errorf("%d writes in %.1f s, want some, and %.0f at most", writes, seconds, most)
			}

			delays := c.change(t, stream, changes)
			body, asked := fleetBody(t, g), time.Now()
			_ = fleetBody(t, g)
			answered := time.Since(asked)
			c.seenBy(t, g) // none has been lost on the way
			t.Logf("%d nodes: all seen %.1f s after the first began; %.1f writes/s\n"+
				"| %d | %s | %s | %.0f / %.0f ms |\n"+
				"write to event: p50 %v p90 %v p99 %v max %v of %d; /v1/fleet %d kB in %v; load average %s",
				n, took.Seconds(), float64(writes)/seconds,
				n, zoo.since(zooBefore, seconds, n), gateway.since(gatewayBefore, seconds, n), ms(delays.at(.5)), ms(delays.at(.99)),
				delays.at(.5), delays.at(.9), delays.at(.99), delays.at(1), len(delays), body>>10, answered.Round(time.Millisecond), loadAverage())
		})
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.TrimSpace(string(b))
}

// usage is what a process has taken so far.
type usage struct {
	cpu     float64 // seconds
	rss     int     // bytes
	in, out uint64  // bytes read and written: nearly all of it on sockets
}

func usageOf(t *testing.T, pid int) usage {
	t.Helper()
	p, err := procfs.NewProc(pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	io, err := p.IO()
	if err != nil {
		t.Fatal(err)
	}
	return usage{stat.CPUTime(), stat.ResidentMemory(), io.RChar, io.WChar}
}

// since says what it took of one processor, altogether and for each node, what memory it
// has, and what it read and wrote.
func (u usage) since(before usage, seconds float64, nodes int) string {
	cpu := (u.cpu - before.cpu) / seconds
	return fmt.Sprintf("%.1f %% | %.0f µs/s | %d MiB | %.0f / %.0f kB/s", 100*cpu, 1e6*cpu/float64(nodes), u.rss>>20,
		float64(u.in-before.in)/seconds/1e3, float64(u.out-before.out)/seconds/1e3)
}

// many is many nodes, as ZooKeeper knows them.
type many struct {
	interval time.Duration
	began    time.Time
	nodes    []*member
}

// member is the registration of one node.
type member struct {
	*registry.Registrar
	name string

	mu     sync.Mutex
	record directory.Record
}

// startMany registers n nodes, spread over an interval or more, until the test ends.
func startMany(t *testing.T, zookeeper string, n int, interval, timeout time.Duration) *many {
	t.Helper()
	c := &many{interval: interval, began: time.Now()}
	ramp := max(interval, time.Duration(n)*10*time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range n {
		m := &member{name: fmt.Sprintf("turn-%04d", i), record: directory.Record{
			FreeTraffic: 800, RESTAddr: fmt.Sprintf("10.%d.%d.%d:13478", i/62500, i/250%250, 1+i%250), RESTScheme: "https",
			Node: fmt.Sprintf("turn-%04d", i), Region: fmt.Sprintf("region-%d", i%3), Zone: fmt.Sprintf("zone-%d", i/3%3),
			CapacityMbps: 1000, State: "up", Generation: 1, Version: "0.1.0",
		}}
		for _, u := range []string{"turn:%s:3478?transport=udp", "turn:%s:3478?transport=tcp", "turns:%s:5349?transport=tcp"} {
			m.record.URIs = append(m.record.URIs, fmt.Sprintf(u, m.name+".example.org"))
		}
		m.Registrar = registry.New(registry.Config{
			Directory: directory.Config{Servers: []string{zookeeper}, SessionTimeout: timeout, ACL: directory.ACLOpen},
			Node:      m.name, Path: "/turn/servers", PrometheusPath: "/turn/prometheus", Interval: interval, MaxDraining: 1,
			Prometheus: fmt.Appendf(nil, `{"host":"%s.example.org","port":13479,"name":"%s"}`, m.name, m.name),
		}, m.publication, slog.New(slog.DiscardHandler), registry.Metrics{Operations: discard.NewCounter(), Failures: discard.NewCounter()})
		c.nodes = append(c.nodes, m)
		all.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(i) * ramp / time.Duration(n)):
				if err := m.Run(ctx); err != nil {
					t.Errorf("%s: %v", m.name, err)
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return c
}

// publication is a load that changes a little with each record.
func (m *member) publication() registry.Publication {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record.RxMbps = 200 + 40*rand.Float64()
	m.record.TxMbps = m.record.RxMbps
	m.record.FreeTraffic = m.record.CapacityMbps - m.record.RxMbps
	m.record.Allocations = 100 + rand.IntN(20)
	return registry.Publication{Present: true, Record: m.record}
}

// renew has the node hand out another credential, which is written at once.
func (m *member) renew() (generation uint64) {
	m.mu.Lock()
	m.record.Generation++
	generation = m.record.Generation
	m.mu.Unlock()
	m.Kick()
	return generation
}

// seenBy waits until the gateway sees that all of them are up.
func (c *many) seenBy(t *testing.T, g *gatewayProcess) {
	t.Helper()
	want := fmt.Sprintf("\nturnwarden_gateway_nodes{state=\"up\"} %d\n", len(c.nodes))
	realtest.Eventually(t, 3*time.Minute, func() error {
		<-time.After(100 * time.Millisecond) // what watches it costs something, too
		_, body, err := g.get("/metrics")
		if err == nil && !strings.Contains(body, want) {
			err = fmt.Errorf("not all of %d nodes are up: %v", len(c.nodes), regexp.MustCompile(`turnwarden_gateway_nodes\{.*`).FindAllString(body, -1))
		}
		return err
	})
}

// rounds waits until each has written so many times more.
func (c *many) rounds(t *testing.T, n uint64) {
	t.Helper()
	before := map[*member]uint64{}
	for _, m := range c.nodes {
		before[m] = m.Status().LastRecord.Seq
	}
	for m, before := range before {
		realtest.Eventually(t, time.Duration(n)*c.interval+time.Minute, func() error {
			if now := m.Status().LastRecord.Seq; now < before+n {
				return fmt.Errorf("%s wrote %d times", m.name, now-before)
			}
			return nil
		})
	}
}

// writes is how often all of them have written.
func (c *many) writes() (n uint64) {
	for _, m := range c.nodes {
		n += m.Status().LastRecord.Seq
	}
	return n
}

// change has so many nodes, one after the other, hand out another credential, and returns
// how long each time it took until the gateway told those who listen to it.
func (c *many) change(t *testing.T, stream <-chan told, changes int) (delays durations) {
	t.Helper()
	pending, turns := map[told]time.Time{}, rand.Perm(len(c.nodes)) // of two changes of one node soon after each other only the second is told
	next := time.NewTimer(0)
	defer next.Stop()
	limit := time.After(time.Duration(changes)*150*time.Millisecond + 30*time.Second)
	for n := 0; n < changes || len(pending) > 0; {
		select {
		case <-next.C:
			if n++; n > changes {
				break
			}
			m := c.nodes[turns[n%len(turns)]]
			at := time.Now()
			pending[told{m.name, m.renew()}] = at
			next.Reset(time.Duration(50+rand.IntN(100)) * time.Millisecond) // no beat of the gateway's
		case news := <-stream:
			if at, ok := pending[news]; ok {
				delays = append(delays, time.Since(at))
				delete(pending, news)
			}
		case <-limit:
			t.Fatalf("%d of %d changes were not told: %v", len(pending), changes, pending)
		}
	}
	return delays
}

// told is what a gateway tells of a node.
type told struct {
	Node       string `json:"node"`
	Generation uint64 `json:"generation"`
}

// hear follows the events of a gateway, from now until the test ends.
func hear(t *testing.T, url string) <-chan told {
	t.Helper()
	stream := make(chan told, 1024)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		last := ""
		for ctx.Err() == nil {
			if err := follow(ctx, url, &last, stream); err != nil && ctx.Err() == nil {
				t.Errorf("events: %v", err)
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return stream
}

// follow reads one stream to its end.
func follow(ctx context.Context, url string, last *string, stream chan<- told) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Last-Event-ID", *last)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: new(net.Dialer).DialContext}}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	for s := bufio.NewScanner(answer.Body); s.Scan(); {
		if id, ok := strings.CutPrefix(s.Text(), "id: "); ok {
			*last = id
		}
		data, ok := strings.CutPrefix(s.Text(), "data: ")
		if !ok {
			continue
		}
		var news told
		if err := json.Unmarshal([]byte(data), &news); err != nil {
			return err
		}
		select {
		case stream <- news:
		case <-ctx.Done():
		}
	}
	return nil
}

// fleetBody is the size of the reply of GET /v1/fleet.
func fleetBody(t *testing.T, g *gatewayProcess) int {
	t.Helper()
	code, body, err := get("http://" + g.rest() + "/v1/fleet")
	if err != nil || code != http.StatusOK {
		t.Fatalf("%d %v", code, err)
	}
	return len(body)
}
