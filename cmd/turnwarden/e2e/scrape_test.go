package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestScrapeUnderFaults: what hangs does not hang the scrape. With a child that is
// stopped, a ZooKeeper that is stopped and a full disk, each noticed, a scrape takes at
// most twice as long as one of a quiet twin at the same moment.
func TestScrapeUnderFaults(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	z := realtest.StartZooKeeper(t)
	faulty, twin := scrapedHost(t, z), scrapedHost(t, realtest.StartZooKeeper(t))
	h, state := faulty, filepath.Join(faulty.dir, "state")

	says := func(what string) {
		t.Helper()
		realtest.Eventually(t, time.Minute, func() error {
			_, body, err := h.get("/-/ready")
			if err == nil && !strings.Contains(body, what) {
				err = fmt.Errorf("ready says %q", body)
			}
			return err
		})
	}
	healthy := func() {
		t.Helper()
		h.waitReady(t)
		says("registry: registered\n")
	}
	fill := filepath.Join(state, "fill")
	failures := func() string { return h.metric(t, "turnwarden_credential_rotation_failures_total") }
	var child int
	for _, fault := range []struct {
		name        string
		begin, mend func()
	}{
		{"a hung child", func() {
			child = h.child(t)
			_ = syscall.Kill(child, syscall.SIGSTOP)
			says("not ready")
		}, func() { _ = syscall.Kill(child, syscall.SIGKILL) }},
		{"a hung ZooKeeper", func() {
			z.Pause()
			says("registry: disconnected")
		}, z.Cont},
		{"a full disk", func() {
			before := failures()
			f, err := os.Create(fill)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if n, err := f.Write(make([]byte, 4<<20)); err == nil {
				t.Fatalf("%d bytes fit on a disk of 1 MiB", n)
			}
			realtest.Eventually(t, time.Minute, func() error {
				if now := failures(); now == before {
					return fmt.Errorf("%s rotations have failed", now)
				}
				return nil
			})
		}, func() { _ = os.Remove(fill) }},
	} {
		healthy()
		fault.begin()
		compareScrapes(t, fault.name, faulty, twin)
		fault.mend()
	}
	healthy()
}

// scrapedHost is a listed node whose state is on a disk of 1 MiB.
func scrapedHost(t *testing.T, z *realtest.ZooKeeper) *host {
	t.Helper()
	h := newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{
		"probe.timeout": "500ms", "credentials.rotate_every": "3s", "credentials.lifetime": "1h", "coturn.stop_timeout": "1m",
	}})
	state := filepath.Join(h.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		realtest.Missing(t, fmt.Sprintf("no tmpfs can be mounted here: %v", err))
	}
	t.Cleanup(func() {
		h.end(t)
		_ = syscall.Unmount(state, syscall.MNT_DETACH)
	})
	h.serve(t)
	listed(t, z.Client(t), 20*time.Second)
	return h
}

// compareScrapes scrapes both in turn, in alternating order: what disturbs the machine
// disturbs both halves of a pair.
func compareScrapes(t *testing.T, fault string, faulty, twin *host) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var during, quiet, ratios []float64
	for i := range 200 {
		first, second := faulty, twin
		if i%2 == 1 {
			first, second = twin, faulty
		}
		d, q := timeScrape(t, client, first), timeScrape(t, client, second)
		if i%2 == 1 {
			d, q = q, d
		}
		if i >= 2 { // by then both connections are made
			during, quiet, ratios = append(during, d), append(quiet, q), append(ratios, d/q)
		}
	}
	t.Logf("%-17s median %.2f ms, p99 %.2f ms; quiet %.2f and %.2f ms; median of the ratios %.2f", fault+":",
		percentile(during, 50), percentile(during, 99), percentile(quiet, 50), percentile(quiet, 99), percentile(ratios, 50))
	if ratio := percentile(ratios, 50); ratio > 2 {
		t.Errorf("%s makes a scrape %.2f times as slow, want at most 2", fault, ratio)
	}
}

// timeScrape is the time of one scrape in ms.
func timeScrape(t *testing.T, client *http.Client, h *host) float64 {
	t.Helper()
	begin := time.Now()
	response, err := client.Get("http://" + net.JoinHostPort(h.ip, fmt.Sprint(h.web)) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %s, %v", response.Status, err)
	}
	return time.Since(begin).Seconds() * 1e3
}

func percentile(all []float64, p int) float64 {
	return slices.Sorted(slices.Values(all))[(len(all)-1)*p/100]
}
