package registry_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestSoak writes a hundred times as often as a node does, beside a host that waits
// for its name: neither heap, goroutines nor watches may grow. It runs for
// TURNWARDEN_SOAK, such as 1h.
func TestSoak(t *testing.T) {
	text := os.Getenv("TURNWARDEN_SOAK")
	if text == "" {
		t.Skip("TURNWARDEN_SOAK says how long: not set")
	}
	lasting, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	z := realtest.StartZooKeeper(t)
	cfg, rival := newConfig(t, z, "/servers"), newConfig(t, z, "/servers")
	cfg.Interval, rival.Interval = 100*time.Millisecond, 100*time.Millisecond
	cfg.PrometheusPath, cfg.Prometheus = "/prometheus", []byte(`{}`)
	h := startHost(t, cfg, "10.0.0.1:1")
	look(t, z, "/servers/turn-1").eventually("10.0.0.1:1")
	eventuallyConflict(t, startHost(t, rival, "10.0.0.2:1"), "10.0.0.1:1")

	measure := func() (heap, goroutines int, watches string) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc), runtime.NumGoroutine(), z.Watches()
	}
	<-time.After(lasting / 10)
	heap, goroutines, watches := measure()
	<-time.After(lasting - lasting/10)
	heapEnd, goroutinesEnd, watchesEnd := measure()
	result := fmt.Sprintf("%d writes; heap %d -> %d kB, goroutines %d -> %d, watches %s -> %s",
		h.Status().LastRecord.Seq, heap>>10, heapEnd>>10, goroutines, goroutinesEnd, watches, watchesEnd)
	// The watch of the host that waits is between two of its lives for a moment after each write.
	if heapEnd > heap+(256<<10) || goroutinesEnd > goroutines+1 || watchesEnd != "0" && watchesEnd != "1" {
		t.Error(result)
	}
	t.Log(result)
}
