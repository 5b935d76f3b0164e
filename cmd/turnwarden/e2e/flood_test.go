package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// TestFlood is what strangers and one caller gone wild can do to a node: thousands of
// connections that are held open, some silent, some half a request, some after a refusal,
// requests whose body never comes on both listeners, and a token at ten times its rate.
// TURNWARDEN_FLOOD=30s is the whole of it, with 10,000 connections; make proofs sets that.
func TestFlood(t *testing.T) {
	lasts, held := 5*time.Second, 5000
	if s := os.Getenv("TURNWARDEN_FLOOD"); s != "" {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
		held = 10000
	}
	requireFiles(t, held)
	tokens, honest, wild := honestAndWild(t)
	h := newHost(t, options{set: map[string]string{"api.tokens_file": tokens}})
	h.serve(t)

	quiet := h.observe(t, lasts, honest)
	a := startAttack(t, attack{Addr: h.rest(), Token: wild, Held: held, PerSecond: 10 * rate, Strangers: []stranger{bodiless(h.rest()), bodiless(h.instance())}})
	flooded := h.observe(t, lasts, honest)
	done := a.end(t)

	t.Logf("%d connections held (%d made, %d at most at a time), %v of %d requests/s against a limit of %d/s: %d answered, %d refused with 429, %d others",
		held, done.Made, done.Most, lasts, 10*rate, rate, done.Codes[200], done.Codes[429], done.others())
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
	if p := flooded.metrics.at(1); p > time.Duration(slack)*2*time.Second {
		t.Errorf("/metrics takes %v", p)
	}
	if p := flooded.rotations.at(1); len(flooded.rotations) == 0 || p > time.Duration(slack)*max(20*quiet.rotations.at(1), 3*time.Second) {
		t.Errorf("%d rotations, the slowest %v", len(flooded.rotations), p)
	}
	if flooded.failed > 0 || len(flooded.honest) == 0 || flooded.honest.at(1) > time.Duration(slack)*2*time.Second {
		t.Errorf("honest callers: %d answered, %d not", len(flooded.honest), flooded.failed)
	}
	if grown := int64(flooded.rss) - int64(quiet.rss); grown > room {
		t.Errorf("memory has grown by %d MiB", grown>>20)
	}
	if flooded.files > 4096+200 {
		t.Errorf("%d files are open", flooded.files)
	}
	if n, most := done.Codes[200], int(rate*done.Took.Seconds())+rate+1; n > most || done.others() > 0 {
		t.Errorf("the wild caller was answered %d times in %v, %d at most are its due; %d answers were neither 200 nor 429", n, done.Took, most, done.others())
	}
}

// rate is how many requests a second the wild caller's token allows.
const rate = 100

// honestAndWild writes a file of two tokens.
func honestAndWild(t *testing.T) (file, honest, wild string) {
	t.Helper()
	honest, honestLine, err := transport.NewToken("honest")
	if err != nil {
		t.Fatal(err)
	}
	wild, wildLine, err := transport.NewToken("wild")
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%s\n%s rate=%d\n", honestLine, wildLine, rate), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, honest, wild
}

// requireFiles says whether an attacker can hold so many connections here.
func requireFiles(t *testing.T, held int) {
	t.Helper()
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if held > int(files.Cur)-1000 {
		realtest.Missing(t, fmt.Sprintf("%d connections need more than the %d files of ulimit -n", held, files.Cur))
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
	client := admin.NewClient(h.socket())
	steadily(500*time.Millisecond, func() {
		_ = timed(&o.rotations, func() error { return client.Rotate(t.Context(), func(admin.Step) {}) }) // not while the child is dead
	})
	steadily(20*time.Millisecond, func() {
		if err := timed(&o.honest, func() error {
			_, err := answered("http://"+h.rest()+"/turncredential", token)
			return err
		}); err != nil {
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
	var err error
	if o.rss, o.files, err = h.holds(); err != nil {
		t.Fatal(err)
	}
	return o
}

// holds is the memory and the files that turnwarden has now.
func (h *host) holds() (rss uint64, files int, err error) {
	p, err := procfs.NewProc(h.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	stat, err := p.Stat()
	if err != nil {
		return 0, 0, err
	}
	files, err = p.FileDescriptorsLen()
	return uint64(stat.ResidentMemory()), files, err
}

// answered asks on a connection of its own and wants a credential.
func answered(url, token string) (body string, err error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("got %s", response.Status)
	}
	b, err := io.ReadAll(response.Body)
	return string(b), err
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
