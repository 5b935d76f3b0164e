package realtest

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestPace: a bound stretches while there is more to run than processors, and not otherwise.
func TestPace(t *testing.T) {
	pace := NewPace()
	busy := func() bool { return pace.Stretch(time.Second) > 1200*time.Millisecond }
	// Threads, not goroutines, wait in the kernel's queue.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	var done sync.WaitGroup
	for range 4 * runtime.NumCPU() {
		done.Go(func() {
			for !busy() && pace.Took() < 20*time.Second {
			}
		})
	}
	done.Wait()
	if !busy() {
		t.Errorf("with four threads for each processor a second is %v", pace.Stretch(time.Second))
	}
	t.Setenv("TURNWARDEN_ALONE", "1")
	if got := pace.Stretch(time.Second); got != time.Second {
		t.Errorf("on a machine of its own a second is %v", got)
	}
}
