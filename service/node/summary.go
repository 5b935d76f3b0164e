package node

import (
	"context"
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// summaryEvery is how often a node says what it has done. Nothing else is logged in a
// quiet hour, so that a log without this line is one that somebody has lost.
const summaryEvery = time.Hour

// done counts what no part has a total of.
type done struct {
	mu           sync.Mutex
	rotations    int
	probesFailed int
	failing      map[probe.Transport]int // rounds in a row, as last seen
	rx, tx       uint64
	devices      map[string]traffic.DeviceSample // as last seen
}

// probed is told every verdict that says something new, as one more failure does.
func (d *done) probed(answers []probe.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[probe.Transport]int{}
	for _, a := range answers {
		seen[a.Transport] = a.Failures
		if before := d.failing[a.Transport]; a.Failures > before {
			d.probesFailed += a.Failures - before
		}
	}
	d.failing = seen
}

// measured is told every reading. What a counter that began anew has missed is lost.
func (d *done) measured(s traffic.Sample) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := map[string]traffic.DeviceSample{}
	for _, now := range s.Devices {
		seen[now.Name] = now
		if before, ok := d.devices[now.Name]; ok && now.RxBytes >= before.RxBytes && now.TxBytes >= before.TxBytes {
			d.rx, d.tx = d.rx+now.RxBytes-before.RxBytes, d.tx+now.TxBytes-before.TxBytes
		}
	}
	d.devices = seen
}

func (d *done) rotated() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rotations++
}

// tally is what a summary is the difference of two of.
type tally struct {
	made, refused           uint64
	rx, tx                  uint64 // bytes
	restarts                int
	rotations, probesFailed int
	writes                  uint64
}

func (n *Node) tally(s service.Status) tally {
	t := tally{made: s.Sessions.Created, restarts: s.Child.Restarts}
	n.done.mu.Lock()
	t.rotations, t.probesFailed, t.rx, t.tx = n.done.rotations, n.done.probesFailed, n.done.rx, n.done.tx
	n.done.mu.Unlock()
	for _, refused := range s.Sessions.Refused {
		t.refused += refused
	}
	if s.Registry != nil {
		t.writes = s.Registry.LastRecord.Seq
	}
	return t
}

// Summarize logs each hour what happened in it, until ctx ends.
func (n *Node) Summarize(ctx context.Context) error {
	tick := time.NewTicker(summaryEvery)
	defer tick.Stop()
	before := n.tally(n.Status())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s := n.Status()
		now := n.tally(s)
		n.logger.Info("summary", "duration", summaryEvery, "state", service.State(service.Readiness(s)), "allocations", s.Sessions.Open,
			"allocations_made", now.made-before.made, "refused", now.refused-before.refused,
			"rx_bytes", now.rx-before.rx, "tx_bytes", now.tx-before.tx,
			"restarts", now.restarts-before.restarts, "rotations", now.rotations-before.rotations,
			"probes_failed", now.probesFailed-before.probesFailed, "record_writes", now.writes-before.writes)
		before = now
	}
}
