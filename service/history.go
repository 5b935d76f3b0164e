package service

import (
	"slices"
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service/traffic"
)

// The last hour of traffic is kept in means of half a minute: as much as a chart can
// show, whatever the interval.
const (
	HistorySpan = time.Hour
	historyStep = 30 * time.Second
)

// Throughput is the mean of some seconds, of which At is the last.
type Throughput struct {
	At                                 time.Time
	RxBytesPerSecond, TxBytesPerSecond float64
}

// history keeps the throughput of the last hour. The list it hands out is never
// changed afterwards, so that a Status costs no copy.
type history struct {
	mu     sync.Mutex
	points []Throughput
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
	next := Throughput{s.At, s.RxBytesPerSecond, s.TxBytesPerSecond}
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
	for old < n && s.At.Sub(h.points[old].At) > HistorySpan {
		old++
	}
	h.points = append(slices.Clone(h.points[old:]), next)
}

func (h *history) all() []Throughput {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.points
}
