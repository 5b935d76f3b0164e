package realtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Pace measures how much the machine delays this process: the kernel counts how long its
// threads ran and how long they were ready to run and waited for a processor (proc(5),
// schedstat). Bounds that a test states for a machine of its own stretch by that ratio, so
// that other work on the machine fails no test, and a calm machine loosens no bound.
type Pace struct {
	began    time.Time
	ran, sat time.Duration
}

// mostStretch bounds the ratio: a machine that is slower is not worth waiting for.
const mostStretch = 8

// NewPace begins a measurement.
func NewPace() Pace {
	ran, sat := schedstat()
	return Pace{time.Now(), ran, sat}
}

// Took is the time since the beginning.
func (p Pace) Took() time.Duration { return time.Since(p.began) }

// Stretch returns the bound as it is on a machine that delayed this process as this one did
// since the beginning. With TURNWARDEN_ALONE=1 it returns the bound itself.
func (p Pace) Stretch(bound time.Duration) time.Duration {
	if os.Getenv("TURNWARDEN_ALONE") == "1" {
		return bound
	}
	return time.Duration(float64(bound) * p.ratio())
}

func (p Pace) ratio() float64 {
	ran, sat := schedstat()
	ran, sat = ran-p.ran, sat-p.sat
	if ran <= 0 || sat <= 0 { // nothing ran since, or the threads that did have ended
		return 1
	}
	return min(1+float64(sat)/float64(ran), mostStretch)
}

// Within fails the test if more than the stretched bound has passed since the beginning.
func (p Pace) Within(t testing.TB, bound time.Duration, what string) {
	t.Helper()
	if took := p.Took(); took > p.Stretch(bound) {
		t.Errorf("%s after %v, want %v at the latest (%v on a machine this busy)", what, took, bound, p.Stretch(bound))
	}
}

// schedstat sums what the threads of this process ran and waited.
func schedstat() (ran, sat time.Duration) {
	threads, _ := filepath.Glob("/proc/self/task/*/schedstat")
	for _, path := range threads {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var r, s time.Duration
		if _, err := fmt.Sscan(string(data), &r, &s); err == nil {
			ran, sat = ran+r, sat+s
		}
	}
	return ran, sat
}
