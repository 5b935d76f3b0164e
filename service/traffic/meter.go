package traffic

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// staleAfter is how many intervals a sample stands for the present.
const staleAfter = 3

// Config is the traffic part of the configuration, checked by its reader.
type Config struct {
	CapacityMbps float64 // 0 = the sum of the link speeds, read again at each sample
	Direction    string  // rx, tx or both
	Interval     time.Duration
}

// Sample is the last thing a meter knows. The rates are those of the last good
// measurement, made at At; the totals in Devices are those of the last reading.
type Sample struct {
	At                     time.Time // zero before the first good measurement
	Ready                  bool      // false = warming: nothing measured so far
	RxBytesPerSecond       float64
	TxBytesPerSecond       float64
	CapacityBytesPerSecond float64
	FreeMbps               float64
	Devices                []DeviceSample
	Err                    string // what is wrong with the last reading; empty = nothing
	Interval               time.Duration
}

// Stale says that the sample is too old to be announced. A meter that is still
// warming is not stale: there is nothing yet that could be out of date.
func (s Sample) Stale(now time.Time) bool {
	return s.Ready && now.Sub(s.At) > staleAfter*s.Interval
}

// Meter measures a source at an interval.
type Meter struct {
	notify  func()
	logger  *slog.Logger
	what    atomic.Pointer[measured]
	changed chan struct{} // what is measured has

	failing bool // used by Run alone
	mu      sync.Mutex
	prev    Reading // written by Run alone
	current Sample
}

// measured is what a meter reads, and how.
type measured struct {
	src Source
	cfg Config
}

// NewMeter makes a meter that calls notify, which must not block, after each
// reading.
func NewMeter(src Source, cfg Config, notify func(), logger *slog.Logger) *Meter {
	m := &Meter{notify: notify, logger: logger, changed: make(chan struct{}, 1), current: Sample{Interval: cfg.Interval}}
	m.what.Store(&measured{src, cfg})
	return m
}

// Configure has another source measured, or the same one otherwise, from now on.
func (m *Meter) Configure(src Source, cfg Config) {
	m.what.Store(&measured{src, cfg})
	select {
	case m.changed <- struct{}{}:
	default: // one is pending
	}
}

// Last is the current sample.
func (m *Meter) Last() Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.current
	s.Devices = slices.Clone(s.Devices)
	return s
}

// Run reads at once, a second time soon after, since two readings are needed
// before the node can be listed, and then at every interval. With a reading of an
// earlier image it goes on where that would have.
func (m *Meter) Run(ctx context.Context) error {
	interval := func() time.Duration { return m.what.Load().cfg.Interval }
	first := min(time.Second, interval())
	if m.prev.At.IsZero() {
		m.read()
	} else {
		first = min(max(time.Until(m.prev.At.Add(interval())), time.Millisecond), interval())
	}
	ticker := time.NewTicker(first)
	defer ticker.Stop()
	for warming := true; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-m.changed:
			m.begin()
			ticker.Reset(min(time.Second, interval()))
			warming = true
			continue
		case <-ticker.C:
		}
		if warming {
			ticker.Reset(interval())
			warming = false
		}
		m.read()
	}
}

// begin has the rates of the next reading be those from now on. What cannot be read now
// is told by that.
func (m *Meter) begin() {
	if r, err := m.what.Load().src.Read(); err == nil {
		m.mu.Lock()
		m.prev = r
		m.mu.Unlock()
	}
}

func (m *Meter) read() {
	was, what := m.Last(), m.what.Load()
	now, err := m.next(was, what.src, what.cfg)
	m.report(was, now, what.cfg, err)
	if err == nil {
		err = checkSpeed(now.Devices, what.cfg.CapacityMbps)
	}
	now.Err = ""
	if err != nil {
		now.Err = err.Error()
	}
	m.mu.Lock()
	m.current = now
	m.mu.Unlock()
	m.notify()
}

// next is the sample that follows s. With an error it is still the best there is.
func (m *Meter) next(s Sample, src Source, cfg Config) (Sample, error) {
	r, err := src.Read()
	if err != nil {
		return s, err
	}
	prev := m.prev
	m.mu.Lock()
	m.prev = r
	m.mu.Unlock()
	if prev.At.IsZero() {
		s.Devices = totals(r)
		return s, nil
	}
	devices, err := rates(prev, r, cfg.CapacityMbps)
	if err != nil {
		s.Devices = totals(r)
		return s, err
	}
	rx, tx, capacity := load(devices, cfg.CapacityMbps)
	return Sample{
		At:                     r.At,
		Ready:                  true,
		RxBytesPerSecond:       rx,
		TxBytesPerSecond:       tx,
		CapacityBytesPerSecond: capacity,
		FreeMbps:               free(rx, tx, capacity, cfg.Direction),
		Devices:                devices,
		Interval:               cfg.Interval,
	}, nil
}

// report logs changes, not states.
func (m *Meter) report(was, now Sample, cfg Config, err error) {
	switch {
	case err != nil && !m.failing:
		m.logger.Warn("no new traffic sample: the last one stands for a while, then the node is unlisted",
			"free_mbps", now.FreeMbps, "limit", staleAfter*cfg.Interval, "err", err)
	case err == nil && m.failing:
		m.logger.Info("traffic is measured again", "free_mbps", now.FreeMbps)
	}
	m.failing = err != nil

	before, after := deviceNames(was.Devices), deviceNames(now.Devices)
	if before != after && before != "" {
		m.logger.Warn("the interfaces changed: only those present count towards traffic and capacity", "before", before, "now", after)
	}
	lack := checkSpeed(now.Devices, cfg.CapacityMbps)
	if known := checkSpeed(was.Devices, cfg.CapacityMbps); lack != nil && (known == nil || known.Error() != lack.Error()) {
		m.logger.Warn("an interface reports no link speed and adds nothing to the headroom", "err", lack)
	}
}
