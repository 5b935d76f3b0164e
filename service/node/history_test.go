package node

import (
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// TestHistory: means of half a minute over an hour, in bounded memory, whatever the
// interval; and what was read once does not change.
func TestHistory(t *testing.T) {
	for interval, want := range map[time.Duration]struct{ points, samples int }{
		time.Second: {121, 30}, 10 * time.Second: {121, 3}, 45 * time.Second: {81, 1}, 10 * time.Minute: {7, 1},
	} {
		var h history
		begin := time.Unix(1_790_000_000, 0)
		var early []service.Throughput
		for i := 0; time.Duration(i)*interval < 3*time.Hour; i++ {
			s := traffic.Sample{At: begin.Add(time.Duration(i) * interval), Ready: true, RxBytesPerSecond: float64(i), TxBytesPerSecond: 2 * float64(i)}
			h.add(s)
			h.add(s) // a failed reading leaves the last sample as it is
			h.add(traffic.Sample{At: s.At.Add(1)})
			if early == nil && i == want.samples {
				early = h.all()
			}
		}
		points := h.all()
		if n := len(points); n > want.points || n < want.points-1 {
			t.Errorf("%v: %d points, want %d", interval, n, want.points)
		}
		for i, p := range points {
			if p.TxBytesPerSecond != 2*p.RxBytesPerSecond {
				t.Fatalf("%v: point %d: %+v", interval, i, p)
			}
			if i > 0 && i < len(points)-1 { // neighbours' means are as far apart as their samples are many
				if step := p.RxBytesPerSecond - points[i-1].RxBytesPerSecond; step != float64(want.samples) {
					t.Fatalf("%v: step %v, want %d", interval, step, want.samples)
				}
			}
		}
		if len(early) != 2 || early[1].RxBytesPerSecond != float64(want.samples) {
			t.Errorf("%v: a list that was read has changed: %+v", interval, early)
		}
	}
}
