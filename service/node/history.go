package node

import (
	"slices"
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// historyStep is what one point is the mean of: as much as a chart can show, whatever the
// interval.
const historyStep = 30 * time.Second

// history keeps the throughput of the last hour. The list it hands out is never
// changed afterwards, so that a Status costs no copy.
type history struct {
	mu     sync.Mutex
	points []service.Throughput
	begun  time.Time // the last point, which takes more samples
	taken  float64   // samples in it
}

// add takes a measurement; the same one a second time is nothing new.
func (h *history) add(s traffic.Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.points)
	if !s.Ready || n > 0 && !s.At.After(h.points[n-1].At) {
		return
	}
	next := service.Throughput{At: s.At, RxBytesPerSecond: s.RxBytesPerSecond, TxBytesPerSecond: s.TxBytesPerSecond}
	if n > 0 && s.At.Sub(h.begun) < historyStep {
		last := h.points[n-1]
		h.taken++
		next.RxBytesPerSecond = last.RxBytesPerSecond + (next.RxBytesPerSecond-last.RxBytesPerSecond)/h.taken
		next.TxBytesPerSecond = last.TxBytesPerSecond + (next.TxBytesPerSecond-last.TxBytesPerSecond)/h.taken
		h.points = append(slices.Clone(h.points[:n-1]), next)
		return
	}
	h.begun, h.taken = s.At, 1
	old := 0
	for old < n && s.At.Sub(h.points[old].At) > service.HistorySpan {
		old++
	}
	h.points = append(slices.Clone(h.points[old:]), next)
}

func (h *history) all() []service.Throughput {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.points
}

// resume begins with the points of an earlier image, of which the last is complete.
func (h *history) resume(points []service.Throughput) {
	if n := len(points); n > 0 {
		h.points, h.begun, h.taken = points, points[n-1].At.Add(-historyStep), 1
	}
}
