package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
)

// TestFlood is what strangers and one caller gone wild can do to a node: thousands of
// connections that are held open, some silent, some half a request, some after a refusal,
// and a token at ten times its rate. TURNWARDEN_FLOOD=30s is the whole of it, with 10,000
// connections; make proofs sets that.
func TestFlood(t *testing.T) {
	lasts, held := 5*time.Second, 5000
	if s := os.Getenv("TURNWARDEN_FLOOD"); s != "" {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
		held = 10000
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if held > int(files.Cur)-1000 {
		realtest.Missing(t, fmt.Sprintf("%d connections need more than the %d files of ulimit -n", held, files.Cur))
	}
	const rate = 100
	honest, honestLine, err := transport.NewToken("honest")
	if err != nil {
		t.Fatal(err)
	}
	wild, wildLine, err := transport.NewToken("wild")
	if err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, fmt.Appendf(nil, "%s\n%s rate=%d\n", honestLine, wildLine, rate), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, options{set: map[string]string{"api.tokens_file": tokens}})
	h.serve(t)

	quiet := h.observe(t, lasts, honest)
	ctx, cancel := context.WithCancel(t.Context())
	var attack sync.WaitGroup
	var idle holders
	for i := range held {
		attack.Go(func() { idle.hold(ctx, h.rest(), i) })
	}
	realtest.Eventually(t, time.Minute, func() error {
		if n := idle.made.Load(); n < int64(held) {
			return fmt.Errorf("%d of %d connections were made", n, held)
		}
		return nil
	})
	var flood answers
	began := time.Now()
	attack.Go(func() { flood.send(ctx, "http://"+h.rest()+"/turncredential", wild, 10*rate) })
	flooded := h.observe(t, lasts, honest)
	cancel()
	attack.Wait()
	took := time.Since(began)

	t.Logf("%d connections held (%d made, %d at most at a time), %v of %d requests/s against a limit of %d/s: %d answered, %d refused with 429, %d others",
		held, idle.made.Load(), idle.most.Load(), lasts, 10*rate, rate, flood.count(200), flood.count(429), flood.others(200, 429))
	for _, o := range []struct {
		name string
		observed
	}{{"quiet", quiet}, {"flooded", flooded}} {
		t.Logf("%-8s /metrics p50 %v p99 %v of %d; rotation p50 %v max %v of %d; turnserver killed and serving again after %v; honest p50 %v p99 %v of %d, %d failed; RSS %d MiB, %d files",
			o.name, o.metrics.at(.5), o.metrics.at(.99), len(o.metrics), o.rotations.at(.5), o.rotations.at(1), len(o.rotations), o.back.Round(time.Millisecond),
			o.honest.at(.5), o.honest.at(.99), len(o.honest), o.failed, o.rss>>20, o.files)
	}
	// Bounds for a machine that others use too; the numbers above are what to look at.
	slack, room := 1, int64(200)<<20
	if detector {
		slack, room = 5, 5*room
	}
	if p := flooded.metrics.at(.99); p > time.Duration(slack)*max(20*quiet.metrics.at(.99), time.Second) {
		t.Errorf("/metrics takes %v", p)
	}
	if p := flooded.rotations.at(1); len(flooded.rotations) == 0 || p > time.Duration(slack)*max(20*quiet.rotations.at(1), 3*time.Second) {
		t.Errorf("%d rotations, the slowest %v", len(flooded.rotations), p)
	}
	if flooded.failed > 0 || len(flooded.honest) == 0 || flooded.honest.at(.99) > time.Duration(slack)*time.Second {
		t.Errorf("honest callers: %d answered, %d not", len(flooded.honest), flooded.failed)
	}
	if grown := int64(flooded.rss) - int64(quiet.rss); grown > room {
		t.Errorf("memory has grown by %d MiB", grown>>20)
	}
	if flooded.files > 4096+200 {
		t.Errorf("%d files are open", flooded.files)
	}
	if n, most := flood.count(200), int(rate*took.Seconds())+rate+1; n > most || flood.others(200, 429) > 0 {
		t.Errorf("the wild caller was answered %d times in %v, %d at most are its due; %d answers were neither 200 nor 429", n, took, most, flood.others(200, 429))
	}
}

// observed is what others notice of a node for a while.
type observed struct {
	metrics, rotations, honest durations
	failed                     int           // honest requests
	back                       time.Duration // from the death of the child to the first probe that succeeds
	rss                        uint64
	files                      int
}

// observe scrapes, rotates, kills the child and asks for credentials, at a steady pace.
func (h *host) observe(t *testing.T, lasts time.Duration, token string) (o observed) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	var all sync.WaitGroup
	steadily := func(every time.Duration, f func()) {
		all.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for ctx.Err() == nil {
				f()
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	timed := func(to *durations, f func() error) (err error) {
		begin := time.Now()
		if err = f(); err == nil {
			*to = append(*to, time.Since(begin))
		}
		return err
	}
	steadily(50*time.Millisecond, func() {
		if err := timed(&o.metrics, func() error {
			code, _, err := h.get("/metrics")
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("code %d", code)
			}
			return err
		}); err != nil {
			t.Errorf("scrape: %v", err)
		}
	})
	admin := transport.NewAdminClient(h.socket())
	steadily(500*time.Millisecond, func() {
		_ = timed(&o.rotations, func() error { return admin.Rotate(t.Context(), func(transport.AdminStep) {}) }) // not while the child is dead
	})
	steadily(20*time.Millisecond, func() {
		if err := timed(&o.honest, func() error { return answered("http://"+h.rest()+"/turncredential", token) }); err != nil {
			o.failed++
			t.Logf("honest: %v", err)
		}
	})
	all.Go(func() {
		<-time.After(lasts / 2)
		pid := h.child(t)
		begin := time.Now()
		_ = syscall.Kill(pid, syscall.SIGKILL)
		realtest.Eventually(t, time.Minute, func() error {
			if now := h.child(t); now == pid || now == 0 {
				return fmt.Errorf("the child is %d", now)
			}
			code, body, err := h.get("/-/ready")
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("%d %s", code, body)
			}
			return err
		})
		o.back = time.Since(begin)
	})
	all.Wait()
	p, err := procfs.NewProc(h.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if o.files, err = p.FileDescriptorsLen(); err != nil {
		t.Fatal(err)
	}
	o.rss = uint64(stat.ResidentMemory())
	return o
}

// answered asks on a connection of its own and wants a credential.
func answered(url, token string) error {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

type durations []time.Duration

// at is a quantile.
func (d durations) at(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(10 * time.Microsecond)
}

// holders keep connections open and want nothing.
type holders struct{ made, now, most atomic.Int64 }

// hold keeps a connection for as long as the server does, and makes another after a while.
func (c *holders) hold(ctx context.Context, addr string, i int) {
	for ctx.Err() == nil {
		c.once(ctx, addr, i)
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
	}
}

func (c *holders) once(ctx context.Context, addr string, i int) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	c.made.Add(1)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	switch i % 3 {
	case 0: // silent
	case 1: // a request that does not end
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		if _, err := conn.Write([]byte("GET /turncredential HTTP/1.1\r\nHost: t\r\n")); err != nil {
			return
		}
		for range tick.C {
			if _, err := conn.Write([]byte("X: y\r\n")); err != nil || ctx.Err() != nil {
				return
			}
		}
	case 2: // one refused request
		if _, err := conn.Write([]byte("GET /turncredential HTTP/1.1\r\nHost: t\r\n\r\n")); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, conn)
}

// answers are counted by their code; 0 = none.
type answers struct {
	mu    sync.Mutex
	codes map[int]int
}

func (a *answers) count(code int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.codes[code]
}

func (a *answers) others(codes ...int) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for code, count := range a.codes {
		if !slices.Contains(codes, code) {
			n += count
		}
	}
	return n
}

// send sends that many requests a second on kept connections until ctx ends.
func (a *answers) send(ctx context.Context, url, token string, perSecond int) {
	const connections = 16
	a.codes = map[int]int{}
	client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			tick := time.NewTicker(time.Second * connections / time.Duration(perSecond))
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
				if err != nil {
					return
				}
				r.Header.Set("Authorization", "Bearer "+token)
				code := 0
				if response, err := client.Do(r); err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
					code = response.StatusCode
				}
				if ctx.Err() == nil {
					a.mu.Lock()
					a.codes[code]++
					a.mu.Unlock()
				}
			}
		})
	}
	all.Wait()
}
