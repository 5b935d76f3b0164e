// Package callstest plays the CLI of a turnserver to tests.
package callstest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// CLI are the sessions of a turnserver. It lists what it was told to end for lag more.
type CLI struct {
	mu    sync.Mutex
	Open  []coturn.Session
	Lag   time.Duration
	Err   error // of every request
	looks int
}

// List implements calls.Sessions.
func (c *CLI) List(context.Context, string) ([]coturn.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return slices.Clone(c.Open), c.Err
}

// Cancel implements calls.Sessions.
func (c *CLI) Cancel(_ context.Context, ids ...string) error {
	time.AfterFunc(c.Lag, func() { c.end(ids) })
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Err
}

func (c *CLI) end(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Open = slices.DeleteFunc(c.Open, func(s coturn.Session) bool { return slices.Contains(ids, s.ID) })
}

// Add opens a session.
func (c *CLI) Add(id, username string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Open = append(c.Open, coturn.Session{ID: id, Username: username})
}

// Fail has every request fail from now on; nil ends that.
func (c *CLI) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Err = err
}

// Looked returns how often it was asked.
func (c *CLI) Looked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks
}

// IDs are those of the sessions that are still open.
func (c *CLI) IDs() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, s := range c.Open {
		ids = append(ids, s.ID)
	}
	return strings.Join(ids, " ")
}
