package calls

import (
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// Saved is what the child's log has told.
type Saved struct {
	Sessions            coturn.SavedSessions
	Suppressed, Dropped uint64
}

// Save returns what a successor needs, once the lines that are queued are written: a log
// that takes none must not keep it from that for long.
func (l *Log) Save() Saved {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); len(l.queue) > 0 && time.Since(began) < logFlush; {
		<-tick.C
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return Saved{Sessions: l.sessions.Save(), Suppressed: l.suppressed.Load(), Dropped: l.dropped.Load()}
}

const logFlush = 50 * time.Millisecond

// Restore has the counts go on where an earlier image stood.
func (l *Log) Restore(s Saved) {
	l.sessions.Resume(s.Sessions)
	l.suppressed.Store(s.Suppressed)
	l.dropped.Store(s.Dropped)
}
