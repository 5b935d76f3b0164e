package credential

import (
	"testing"
	"time"
)

var noon = time.UnixMilli(1_790_000_000_000)

func TestExpired(t *testing.T) {
	for name, tc := range map[string]struct {
		wall          time.Duration // of now, from the expiry
		elapsed, left time.Duration
		want          bool
	}{
		"long before":               {-time.Hour, 0, time.Hour, false},
		"at the very end":           {0, time.Hour, time.Hour, true},
		"a nanosecond before":       {-1, time.Hour - 1, time.Hour, false},
		"after":                     {time.Hour, 3 * time.Hour, time.Hour, true},
		"the clock was set forward": {time.Hour, time.Minute, time.Hour, false},
		"the clock was set back":    {-time.Hour, 2 * time.Hour, time.Hour, false},
		"nothing was left at boot":  {time.Hour, 0, 0, true},
	} {
		if got := expired(noon.Add(tc.wall), noon, tc.elapsed, tc.left); got != tc.want {
			t.Errorf("%s: expired = %v", name, got)
		}
	}
}

func TestServable(t *testing.T) {
	for name, tc := range map[string]struct {
		wall          time.Duration
		elapsed, left time.Duration
		want          bool
	}{
		"fresh":                     {-time.Hour, 0, time.Hour, true},
		"a nanosecond before":       {-1, time.Hour - 1, time.Hour, true},
		"at the very end":           {0, time.Hour, time.Hour, false},
		"the clock was set forward": {time.Hour, time.Minute, time.Hour, false},
		"the clock was set back":    {-time.Hour, 2 * time.Hour, time.Hour, false},
	} {
		if got := servable(noon.Add(tc.wall), noon, tc.elapsed, tc.left); got != tc.want {
			t.Errorf("%s: servable = %v", name, got)
		}
	}
}

func TestDue(t *testing.T) {
	for name, tc := range map[string]struct {
		wall    time.Duration // of now, from the publication
		elapsed time.Duration
		want    bool
	}{
		"fresh":                      {0, 0, false},
		"a nanosecond before":        {time.Hour - 1, time.Hour - 1, false},
		"in time":                    {time.Hour, time.Hour, true},
		"set forward":                {2 * time.Hour, time.Minute, true},
		"set back, monotonic is due": {time.Minute, time.Hour, true},
		"set back a little":          {-clockTolerance, time.Second, false},
		"set back behind it":         {-clockTolerance - 1, time.Second, true},
	} {
		if got := due(noon.Add(tc.wall), noon, tc.elapsed, time.Hour); got != tc.want {
			t.Errorf("%s: due = %v", name, got)
		}
	}
}

func TestValidity(t *testing.T) {
	for name, tc := range map[string]struct{ wall, want time.Duration }{
		"half is left":             {-30 * time.Minute, 30 * time.Minute},
		"over":                     {time.Hour, 0},
		"the clock was in 1970":    {-20 * 365 * 24 * time.Hour, time.Hour},
		"the clock was set a bit":  {-61 * time.Minute, time.Hour},
		"just published":           {-time.Hour, time.Hour},
		"a nanosecond before over": {-1, 1},
	} {
		if got := validity(noon.Add(tc.wall), noon, time.Hour); got != tc.want {
			t.Errorf("%s: validity = %v, want %v", name, got, tc.want)
		}
	}
}

func TestLeadMarginAndSkew(t *testing.T) {
	for name, tc := range map[string]struct{ of, lead, margin, skew time.Duration }{
		"least":   {time.Second, 500 * time.Millisecond, 200 * time.Millisecond, 100 * time.Millisecond},
		"minute":  {time.Minute, 30 * time.Second, 5 * time.Second, 6 * time.Second},
		"default": {24 * time.Hour, time.Minute, 5 * time.Second, time.Minute},
	} {
		if got := lead(tc.of); got != tc.lead {
			t.Errorf("%s: lead = %v, want %v", name, got, tc.lead)
		}
		if got := margin(tc.of); got != tc.margin {
			t.Errorf("%s: margin = %v, want %v", name, got, tc.margin)
		}
		if got := skew(tc.of); got != tc.skew {
			t.Errorf("%s: skew = %v, want %v", name, got, tc.skew)
		}
	}
}

// Retries are spread, so that nodes that failed together do not retry together,
// and never so far apart that a healed server waits long.
func TestRetryPolicy(t *testing.T) {
	a, b, same := retryPolicy(), retryPolicy(), 0
	for i := range 20 {
		wait := a.NextBackOff()
		if wait <= 0 || wait > 45*time.Second || i == 0 && wait > 300*time.Millisecond {
			t.Fatalf("retry %d after %v", i, wait)
		}
		if wait == b.NextBackOff() {
			same++
		}
	}
	if same > 2 {
		t.Errorf("%d of 20 retries of two policies fall together: no jitter", same)
	}
}

// FuzzClocks holds the rules of time together: whatever the clocks say, nothing
// is both handed out and deleted, and no clock alone can delete.
func FuzzClocks(f *testing.F) {
	f.Add(int64(0), int64(0), int64(time.Hour))
	f.Add(int64(time.Hour), int64(-1), int64(0))
	f.Add(int64(-time.Hour), int64(time.Hour), int64(time.Hour))
	f.Fuzz(func(t *testing.T, wall, elapsed, left int64) {
		now, e, l := noon.Add(time.Duration(wall)), time.Duration(elapsed), time.Duration(left)
		gone, good := expired(now, noon, e, l), servable(now, noon, e, l)
		if gone && good {
			t.Error("expired and servable")
		}
		if gone && (wall < 0 || elapsed < left) {
			t.Error("expired although one clock objects")
		}
		if good && (wall >= 0 || elapsed >= left) {
			t.Error("servable although one clock objects")
		}
		if v := validity(now, noon, time.Hour); v < 0 || v > time.Hour || wall >= 0 && v > 0 {
			t.Errorf("validity = %v", v)
		}
	})
}
