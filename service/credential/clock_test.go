package credential

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// stepped returns t as time.Now would have read it, had the wall clock been set
// forward by whole seconds: its monotonic reading stays. Nothing exported makes
// such a time, and setting the clock of the machine is not for a test.
func stepped(t time.Time, by time.Duration) time.Time {
	// package time: wall holds, from the top, a flag, 33 bits of seconds and
	// 30 bits of nanoseconds when there is a monotonic reading.
	wall := (*uint64)(unsafe.Pointer(&t))
	*wall += uint64(by/time.Second) << 30
	return t
}

func TestStepped(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		if s := stepped(now, by); s.Sub(now) != 0 || s.Round(0).Sub(now.Round(0)) != by {
			t.Fatalf("a step by %v reads as %v, %v elapsed: package time has changed", by, s.Round(0).Sub(now.Round(0)), s.Sub(now))
		}
	}
}

// TestInvariant8ClockStep asks a generation that was published, after the wall clock
// was set. One that was revoked goes whatever the clocks say.
func TestInvariant8ClockStep(t *testing.T) {
	const lifetime = time.Hour
	published := time.Now()
	for name, tc := range map[string]struct {
		elapsed, step       time.Duration
		deletable, servable bool
	}{
		"no step":                   {time.Minute, 0, false, true},
		"set forward":               {time.Minute, 10 * lifetime, false, false},
		"set forward a little":      {time.Minute, time.Minute, false, true},
		"set back":                  {time.Minute, -10 * lifetime, false, true},
		"set back, over":            {2 * lifetime, -10 * lifetime, false, false},
		"over":                      {2 * lifetime, 0, true, false},
		"set forward, over":         {2 * lifetime, lifetime, true, false},
		"over, within the skew":     {lifetime + skew(lifetime)/2, 0, false, false},
		"set forward past the skew": {lifetime + skew(lifetime)/2, lifetime, false, false},
	} {
		g := generation{
			State: Retiring, Published: published.Round(0), Expires: published.Add(lifetime).Round(0),
			seen: published, left: lifetime, fetched: new(atomic.Bool), proved: true,
		}
		g.fetched.Store(true)
		now := stepped(published.Add(tc.elapsed), tc.step)
		if got := g.deletable(now, skew(lifetime)); got != tc.deletable {
			t.Errorf("%s: deletable = %v", name, got)
		}
		revoked := g
		if revoked.State = Revoked; !revoked.deletable(now, skew(lifetime)) {
			t.Errorf("%s: a revoked generation is kept", name)
		}
		if got := g.servable(now); got != tc.servable {
			t.Errorf("%s: servable = %v", name, got)
		}
		if left := g.validFor(now); left < 0 || left > lifetime || (left > 0) != tc.servable {
			t.Errorf("%s: valid for %v", name, left)
		}
	}
}

// Users that a lost state file named are kept for their time of the monotonic clock, also
// by a process that has read from disk until when.
func TestInvariant8ClockStepAfterLostState(t *testing.T) {
	now := time.Now()
	lost := book{next: 1, keepUnknown: now.Add(time.Hour)}
	restarted := openBook(lost.file("turn-1", "example.org"), now, time.Hour)
	again := openBook(restarted.file("turn-1", "example.org"), now, time.Hour)
	for name, until := range map[string]time.Time{"at once": lost.keepUnknown, "after a restart": restarted.keepUnknown, "after another": again.keepUnknown} {
		for _, tc := range []struct {
			elapsed, step time.Duration
			kept          bool
		}{
			{59 * time.Minute, 0, true},
			{59 * time.Minute, 10 * time.Hour, true},
			{59 * time.Minute, -10 * time.Hour, true},
			{61 * time.Minute, 0, false},
			{61 * time.Minute, 10 * time.Hour, false},
			{61 * time.Minute, -10 * time.Hour, false},
		} {
			if kept := stepped(now.Add(tc.elapsed), tc.step).Before(until); kept != tc.kept {
				t.Errorf("%s: after %v and a step of %v they are kept: %v", name, tc.elapsed, tc.step, kept)
			}
		}
	}
	if until := openBook(fileState{}, now, time.Hour).keepUnknown; !until.IsZero() {
		t.Errorf("users are kept until %v although nothing was lost", until)
	}
}

func TestInvariant8ClockStepIsLogged(t *testing.T) {
	const said = "the wall clock was set"
	for name, tc := range map[string]struct {
		step time.Duration
		want int
	}{
		"forward":   {time.Hour, 1},
		"back":      {-time.Hour, 1},
		"tolerated": {clockTolerance, 0},
		"none":      {0, 0},
	} {
		var out strings.Builder
		r := &Rotator{logger: slog.New(slog.NewTextHandler(&out, nil))}
		now := time.Now()
		r.watchClock(now)
		r.watchClock(stepped(now.Add(time.Minute), tc.step))
		r.watchClock(stepped(now.Add(2*time.Minute), tc.step)) // the step is old news
		if got := strings.Count(out.String(), said); got != tc.want {
			t.Errorf("%s: said %d times:\n%s", name, got, &out)
		}
	}
}
