package registry_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	kitmetrics "github.com/go-kit/kit/metrics"
	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/registry"
)

const (
	timeout  = 2 * time.Second // a session timeout that is to pass; ticks are 500 ms
	patient  = 6 * time.Second // one that the busiest machine keeps: a connection that is lost is made again after two thirds and a second
	interval = 200 * time.Millisecond
	soon     = 30 * time.Second // more than any bound that is tested: the busiest machine must get there
	hostEnv  = "TURNWARDEN_TEST_HOST"
)

// TestMain runs the tests, or, as a child of one, a host that can be killed.
func TestMain(m *testing.M) {
	if text := os.Getenv(hostEnv); text != "" {
		runHost(text)
	}
	goleak.VerifyTestMain(m)
}

// hostConfig is what a host in a process of its own needs to know.
type hostConfig struct {
	Server, Path, RESTAddr, StateFile string
	Timeout                           time.Duration
}

func (c hostConfig) config() registry.Config {
	return registry.Config{
		Directory: directory.Config{
			Servers: []string{c.Server}, SessionTimeout: c.Timeout, ACL: directory.ACLOpen, StateFile: c.StateFile,
		},
		Node: "turn-1", Path: c.Path, Interval: interval,
	}
}

func runHost(text string) {
	var c hostConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // The test has ended, or was killed.
		cancel()
	}()
	r := registry.New(c.config(), func() registry.Publication { return present(c.RESTAddr) },
		slog.New(slog.DiscardHandler), (&counts{}).metrics())
	_ = r.Run(ctx)
	os.Exit(0)
}

// startProcess runs a host in a process of its own, behind the command in prefix if
// there is one, and waits until it is registered. The returned function kills it.
func startProcess(t *testing.T, z *realtest.ZooKeeper, c hostConfig, prefix ...string) (kill func()) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := append(prefix, self)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), hostEnv+"="+string(text))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start a host: %v", err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	})
	t.Cleanup(kill)
	look(t, z, c.Path+"/turn-1").eventually(c.RESTAddr)
	return kill
}

func present(restAddr string) registry.Publication {
	return registry.Publication{Present: true, Record: directory.Record{
		FreeTraffic: 812.4, RESTAddr: restAddr, Node: "turn-1", CapacityMbps: 1000, State: "up", Generation: 1,
	}}
}

// host is a registrar in this process and what its source says.
type host struct {
	*registry.Registrar
	counts counts
	logs   realtest.Log
	stop   func() // ends Run and waits for it

	mu    sync.Mutex
	p     registry.Publication
	asked int // how often the source was
}

func (h *host) source() registry.Publication {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return h.p
}

func (h *host) askedTimes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

func (h *host) say(change func(*registry.Publication)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.p)
}

// startHost runs a registrar until the test ends, or until stop.
func startHost(t *testing.T, cfg registry.Config, restAddr string) *host {
	t.Helper()
	h := &host{p: present(restAddr)}
	h.Registrar = registry.New(cfg, h.source, slog.New(slog.NewTextHandler(&h.logs, nil)), h.counts.metrics())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	t.Cleanup(func() {
		h.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", restAddr, h.logs.String())
		}
	})
	return h
}

// newConfig is the configuration of a host with a state file of its own.
func newConfig(t *testing.T, z *realtest.ZooKeeper, path string) registry.Config {
	return hostConfig{
		Server: z.Addr(), Path: path, Timeout: patient, StateFile: filepath.Join(t.TempDir(), "sessions"),
	}.config()
}

// ownPath is a parent that no other test uses.
func ownPath(t *testing.T) string {
	return "/" + strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()) + "/servers"
}

// counts is Metrics that can be read: operations and failures by operation.
type counts struct {
	mu sync.Mutex
	n  map[string]float64
}

func (c *counts) metrics() registry.Metrics {
	return registry.Metrics{Operations: counter{c, "operations"}, Failures: counter{c, "failures"}}
}

func (c *counts) get(name string) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

type counter struct {
	c    *counts
	name string
}

func (c counter) With(labels ...string) kitmetrics.Counter {
	return counter{c.c, c.name + " " + strings.Join(labels, "=")}
}

func (c counter) Add(delta float64) {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	if c.c.n == nil {
		c.c.n = make(map[string]float64)
	}
	c.c.n[c.name] += delta
}
