package traffic

import (
	"context"
	"log/slog"
	"slices"
	"sync"
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
	src    Source
	cfg    Config
	notify func()
	logger *slog.Logger

	failing bool // used by Run alone
	mu      sync.Mutex
	prev    Reading // written by Run alone
	current Sample
}

// NewMeter makes a meter that calls notify, which must not block, after each
// reading.
func NewMeter(src Source, cfg Config, notify func(), logger *slog.Logger) *Meter {
	return &Meter{src: src, cfg: cfg, notify: notify, logger: logger, current: Sample{Interval: cfg.Interval}}
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
	first := min(time.Second, m.cfg.Interval)
	if m.prev.At.IsZero() {
		m.read()
	} else {
		first = min(max(time.Until(m.prev.At.Add(m.cfg.Interval)), time.Millisecond), m.cfg.Interval)
	}
	ticker := time.NewTicker(first)
	defer ticker.Stop()
	for warming := true; ; warming = false {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if warming {
			ticker.Reset(m.cfg.Interval)
		}
		m.read()
	}
}

func (m *Meter) read() {
	was := m.Last()
	now, err := m.next(was)
	m.report(was, now, err)
	if err == nil {
		err = checkSpeed(now.Devices, m.cfg.CapacityMbps)
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
func (m *Meter) next(s Sample) (Sample, error) {
	r, err := m.src.Read()
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
	devices, err := rates(prev, r, m.cfg.CapacityMbps)
	if err != nil {
		s.Devices = totals(r)
		return s, err
	}
	rx, tx, capacity := load(devices, m.cfg.CapacityMbps)
	return Sample{
		At:                     r.At,
		Ready:                  true,
		RxBytesPerSecond:       rx,
		TxBytesPerSecond:       tx,
		CapacityBytesPerSecond: capacity,
		FreeMbps:               free(rx, tx, capacity, m.cfg.Direction),
		Devices:                devices,
		Interval:               m.cfg.Interval,
	}, nil
}

// report logs changes, not states.
func (m *Meter) report(was, now Sample, err error) {
	switch {
	case err != nil && !m.failing:
		m.logger.Warn("no new traffic sample: the last one stands for a while, then the node is unlisted",
			"free_mbps", now.FreeMbps, "limit", staleAfter*m.cfg.Interval, "err", err)
	case err == nil && m.failing:
		m.logger.Info("traffic is measured again", "free_mbps", now.FreeMbps)
	}
	m.failing = err != nil

	before, after := deviceNames(was.Devices), deviceNames(now.Devices)
	if before != after && before != "" {
		m.logger.Warn("the interfaces changed: only those present count towards traffic and capacity", "before", before, "now", after)
	}
	lack := checkSpeed(now.Devices, m.cfg.CapacityMbps)
	if known := checkSpeed(was.Devices, m.cfg.CapacityMbps); lack != nil && (known == nil || known.Error() != lack.Error()) {
		m.logger.Warn("an interface reports no link speed and adds nothing to the headroom", "err", lack)
	}
}
