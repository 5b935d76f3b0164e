package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics/generic"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// calls are the sessions of a turnserver. It lists what it was told to end for lag more.
type calls struct {
	mu    sync.Mutex
	open  []coturn.Session
	lag   time.Duration
	err   error
	looks int
}

func (c *calls) List(context.Context, string) ([]coturn.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return slices.Clone(c.open), c.err
}

func (c *calls) Cancel(_ context.Context, ids ...string) error {
	time.AfterFunc(c.lag, func() { c.end(ids) })
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *calls) end(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = slices.DeleteFunc(c.open, func(s coturn.Session) bool { return slices.Contains(ids, s.ID) })
}

func (c *calls) add(id, username string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, coturn.Session{ID: id, Username: username})
}

func (c *calls) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// looked returns how often it was asked.
func (c *calls) looked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks
}

// ids are those of the sessions that are still open.
func (c *calls) ids() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, s := range c.open {
		ids = append(ids, s.ID)
	}
	return strings.Join(ids, " ")
}

func user(name string) func(string) bool { return func(u string) bool { return u == name } }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// sweeping runs a sweeper on c in a bubble, and a test with it. What it logs is returned
// by the function that the test is given.
func sweeping(t *testing.T, c *calls, test func(t *testing.T, s *service.Sweeper, counted *generic.Counter, logged func() string)) {
	synctest.Test(t, func(t *testing.T) {
		var log realtest.Log
		counted := generic.NewCounter("cancelled")
		s := service.NewSweeper(c, slog.New(slog.NewTextHandler(&log, nil)), counted)
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- s.Run(ctx) }()
		test(t, s, counted, func() string { synctest.Wait(); return log.String() })
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestSweepEndsWhatMatches(t *testing.T) {
	c := &calls{lag: 25 * time.Millisecond}
	c.add("1", "mallory")
	c.add("2", "bob")
	c.add("3", "mallory")
	sweeping(t, c, func(t *testing.T, s *service.Sweeper, counted *generic.Counter, logged func() string) {
		began := time.Now()
		w := s.Begin(user("mallory"))
		<-w.Clean
		if took := time.Since(began); took < c.lag || took > c.lag+20*time.Millisecond {
			t.Errorf("clean after %v; coturn listed them for %v", took, c.lag)
		}
		if ended, err := w.Ended(); ended != 2 || err != nil || counted.Value() != 2 || c.ids() != "2" {
			t.Errorf("ended %d, %v; counted %v; left %s", ended, err, counted.Value(), c.ids())
		}
		if log := logged(); strings.Count(log, "ended sessions of a revoked user") != 1 || !strings.Contains(log, "allocations=2") {
			t.Errorf("log:\n%s", log)
		}

		// A 5-tuple that was parked allocates a minute later.
		time.Sleep(time.Until(began.Add(58 * time.Second)))
		c.add("4", "mallory")
		time.Sleep(1100 * time.Millisecond)
		if ended, _ := w.Ended(); ended != 3 || counted.Value() != 3 || c.ids() != "2" {
			t.Errorf("a later one: ended %d, counted %v, left %s", ended, counted.Value(), c.ids())
		}

		if isClosed(w.Done) {
			t.Error("done before its time")
		}
		<-w.Done
		if took := time.Since(began); took < 65*time.Second || took > 66*time.Second || w.Until.Sub(began) != 65*time.Second {
			t.Errorf("swept for %v, until %v", took, w.Until.Sub(began))
		}
		c.add("5", "mallory")
		looks := c.looked()
		time.Sleep(time.Minute)
		if c.ids() != "2 5" || c.looked() != looks {
			t.Errorf("after its end: left %s, looked %d times", c.ids(), c.looked()-looks)
		}
	})
}

func TestSweepTriesAgain(t *testing.T) {
	c := &calls{err: coturn.ErrNoCLI}
	c.add("1", "mallory")
	sweeping(t, c, func(t *testing.T, s *service.Sweeper, counted *generic.Counter, logged func() string) {
		w := s.Begin(user("mallory"))
		time.Sleep(5500 * time.Millisecond)
		if ended, err := w.Ended(); ended != 0 || !errors.Is(err, coturn.ErrNoCLI) || isClosed(w.Clean) || counted.Value() != 0 {
			t.Errorf("ended %d, %v; counted %v", ended, err, counted.Value())
		}
		if looks := c.looked(); looks < 5 || looks > 7 {
			t.Errorf("looked %d times in 5.5 s", looks)
		}
		if log := logged(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "may go on; trying again every second") {
			t.Errorf("log:\n%s", log)
		}
		c.fail(nil)
		<-w.Clean
		if ended, err := w.Ended(); ended != 1 || err != nil || c.ids() != "" {
			t.Errorf("ended %d, %v; left %s", ended, err, c.ids())
		}
		c.fail(coturn.ErrNoCLI)
		time.Sleep(2 * time.Second)
		if n := strings.Count(logged(), "may go on"); n != 2 {
			t.Errorf("a new failure: %d lines", n)
		}
		<-w.Done // though nobody answers
		if log := logged(); strings.Count(log, "nobody looks for them any more") != 1 {
			t.Errorf("given up, and the last word is that it is tried every second:\n%s", log)
		}
	})
}

func TestSeveralSweeps(t *testing.T) {
	c := &calls{lag: time.Millisecond}
	sweeping(t, c, func(t *testing.T, s *service.Sweeper, counted *generic.Counter, _ func() string) {
		first := s.Begin(user("mallory"))
		<-first.Clean
		time.Sleep(30500 * time.Millisecond) // between two looks
		for i, u := range []string{"mallory", "eve", "bob"} {
			c.add(fmt.Sprint(i), u)
		}
		second := s.Begin(func(u string) bool { return u != "bob" })
		<-second.Clean
		one, _ := first.Ended()
		both, _ := second.Ended()
		if one != 1 || both != 2 || counted.Value() != 2 || c.ids() != "2" {
			t.Errorf("ended %d and %d, counted %v, left %s", one, both, counted.Value(), c.ids())
		}
		<-first.Done
		if isClosed(second.Done) {
			t.Error("the second ended with the first")
		}
		c.add("3", "eve")
		time.Sleep(1100 * time.Millisecond)
		if c.ids() != "2" || counted.Value() != 3 {
			t.Errorf("after the first: left %s, counted %v", c.ids(), counted.Value())
		}
		<-second.Done

		// coturn numbers its sessions anew when it is restarted.
		c.add("0", "mallory")
		<-s.Begin(user("mallory")).Clean
		if counted.Value() != 4 {
			t.Errorf("counted %v", counted.Value())
		}
	})
}

func TestSweeperStopsAtOnce(t *testing.T) {
	for name, c := range map[string]*calls{
		"idle":             {},
		"never rid of one": {lag: time.Hour, open: []coturn.Session{{ID: "1", Username: "mallory"}}},
		"failing":          {err: coturn.ErrNoCLI},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := service.NewSweeper(c, slog.New(slog.DiscardHandler), generic.NewCounter("cancelled"))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- s.Run(ctx) }()
				w := s.Begin(user("mallory"))
				time.Sleep(1500 * time.Millisecond)
				began := time.Now()
				cancel()
				if err := <-done; err != nil || time.Since(began) != 0 || isClosed(w.Done) {
					t.Errorf("Run returned %v after %v", err, time.Since(began))
				}
				time.Sleep(2 * time.Hour) // for the timers of the fake
			})
		})
	}
}
