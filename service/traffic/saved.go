package traffic

import "time"

// Saved is what the next image of this process needs to measure on: without the last
// reading it would know nothing for an interval.
type Saved struct {
	Reading Reading
	Sample  Sample
}

// Save returns what a successor needs.
func (m *Meter) Save() Saved {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Saved{Reading: m.prev, Sample: m.current}
}

// Restore has Run go on where an earlier image stood. It is called before Run.
func (m *Meter) Restore(s Saved) {
	if s.Reading.At.IsZero() {
		return
	}
	m.prev, m.current = s.Reading, s.Sample
	m.current.Interval = m.what.Load().cfg.Interval
	// Both get back the monotonic part of their times, which no encoding keeps.
	m.prev.At = time.Now().Add(time.Until(m.prev.At))
	if !m.current.At.IsZero() {
		m.current.At = time.Now().Add(time.Until(m.current.At))
	}
}
