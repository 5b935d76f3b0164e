package fleet

import (
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	const every = 10 * time.Second
	beats := func(n int) (all []time.Duration) {
		for range n {
			all = append(all, beat)
		}
		return all
	}
	for name, test := range map[string]struct {
		gaps []time.Duration // between ZooKeeper's answers
		want bool
	}{
		"just written":                      {nil, false},
		"a moment before three intervals":   {beats(59), false},
		"three intervals":                   {beats(60), true},
		"an answer late, but not cut off":   {append(beats(56), silence), true},
		"cut off for an hour":               {[]time.Duration{time.Hour}, false},
		"back for an interval":              {append(append(beats(59), time.Hour), beats(20)...), false},
		"back for longer":                   {append(append(beats(59), time.Hour), beats(21)...), true},
		"cut off again and again":           {append(append(append(append(beats(59), 3*time.Second), beats(20)...), 3*time.Second), beats(20)...), false},
		"what is left of a grace is no age": {append(append(beats(20), time.Hour), beats(59)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			var a age
			var written time.Duration
			for _, gap := range test.gaps {
				written += gap
				a.advance(gap, written, every)
			}
			if got := a.overdue(every); got != test.want {
				t.Errorf("overdue: got %v, want %v (%+v)", got, test.want, a)
			}
		})
	}

	var a age
	a.advance(silence, time.Millisecond, every)
	if a.passed > time.Millisecond {
		t.Errorf("aged by %v, which began before the write", a.passed)
	}
}
