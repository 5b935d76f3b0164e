package gateway

import (
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/fleet"
)

// clocks remembers how far the clocks of nodes are ahead of ours, as they said with their
// last answer. HTTP has whole seconds.
type clocks struct {
	mu    sync.Mutex
	ahead map[string]time.Duration
}

// measured takes over what a node said, and returns whether it is news that its clock is
// off, or is not any more.
func (c *clocks) measured(name string, ahead time.Duration) (news, off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead == nil {
		c.ahead = make(map[string]time.Duration)
	}
	was := c.ahead[name].Abs() > tolerance
	c.ahead[name] = ahead
	off = ahead.Abs() > tolerance
	return off != was, off
}

// prune forgets nodes that are gone.
func (c *clocks) prune(s *fleet.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.ahead {
		if s.Find(name) == nil {
			delete(c.ahead, name)
		}
	}
}

// status returns how many clocks are off, and by how much the worst is.
func (c *clocks) status() (s service.ClockStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ahead := range c.ahead {
		s.Worst = max(s.Worst, ahead.Abs())
		if ahead.Abs() > tolerance {
			s.Off++
		}
	}
	return s
}
