package calls_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics/generic"

	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/calls/callstest"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

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
func sweeping(t *testing.T, c *callstest.CLI, test func(t *testing.T, s *calls.Sweeper, counted *generic.Counter, logged func() string)) {
	synctest.Test(t, func(t *testing.T) {
		var log realtest.Log
		counted := generic.NewCounter("cancelled")
		s := calls.NewSweeper(c, slog.New(slog.NewTextHandler(&log, nil)), counted)
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
	c := &callstest.CLI{Lag: 25 * time.Millisecond}
	c.Add("1", "mallory")
	c.Add("2", "bob")
	c.Add("3", "mallory")
	sweeping(t, c, func(t *testing.T, s *calls.Sweeper, counted *generic.Counter, logged func() string) {
		began := time.Now()
		w := s.Begin(user("mallory"))
		<-w.Clean
		if took := time.Since(began); took < c.Lag || took > c.Lag+20*time.Millisecond {
			t.Errorf("clean after %v; coturn listed them for %v", took, c.Lag)
		}
		if ended, err := w.Ended(); ended != 2 || err != nil || counted.Value() != 2 || c.IDs() != "2" {
			t.Errorf("ended %d, %v; counted %v; left %s", ended, err, counted.Value(), c.IDs())
		}
		if log := logged(); strings.Count(log, "ended sessions of a revoked user") != 1 || !strings.Contains(log, "allocations=2") {
			t.Errorf("log:\n%s", log)
		}

		// A 5-tuple that was parked allocates a minute later.
		time.Sleep(time.Until(began.Add(58 * time.Second)))
		c.Add("4", "mallory")
		time.Sleep(1100 * time.Millisecond)
		if ended, _ := w.Ended(); ended != 3 || counted.Value() != 3 || c.IDs() != "2" {
			t.Errorf("a later one: ended %d, counted %v, left %s", ended, counted.Value(), c.IDs())
		}

		if isClosed(w.Done) {
			t.Error("done before its time")
		}
		<-w.Done
		if took := time.Since(began); took < 65*time.Second || took > 66*time.Second || w.Until.Sub(began) != 65*time.Second {
			t.Errorf("swept for %v, until %v", took, w.Until.Sub(began))
		}
		c.Add("5", "mallory")
		looks := c.Looked()
		time.Sleep(time.Minute)
		if c.IDs() != "2 5" || c.Looked() != looks {
			t.Errorf("after its end: left %s, looked %d times", c.IDs(), c.Looked()-looks)
		}
	})
}

func TestSweepTriesAgain(t *testing.T) {
	c := &callstest.CLI{Err: coturn.ErrNoCLI}
	c.Add("1", "mallory")
	sweeping(t, c, func(t *testing.T, s *calls.Sweeper, counted *generic.Counter, logged func() string) {
		w := s.Begin(user("mallory"))
		time.Sleep(5500 * time.Millisecond)
		if ended, err := w.Ended(); ended != 0 || !errors.Is(err, coturn.ErrNoCLI) || isClosed(w.Clean) || counted.Value() != 0 {
			t.Errorf("ended %d, %v; counted %v", ended, err, counted.Value())
		}
		if looks := c.Looked(); looks < 5 || looks > 7 {
			t.Errorf("looked %d times in 5.5 s", looks)
		}
		if log := logged(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "may go on; trying again every second") {
			t.Errorf("log:\n%s", log)
		}
		c.Fail(nil)
		<-w.Clean
		if ended, err := w.Ended(); ended != 1 || err != nil || c.IDs() != "" {
			t.Errorf("ended %d, %v; left %s", ended, err, c.IDs())
		}
		c.Fail(coturn.ErrNoCLI)
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
	c := &callstest.CLI{Lag: time.Millisecond}
	sweeping(t, c, func(t *testing.T, s *calls.Sweeper, counted *generic.Counter, _ func() string) {
		first := s.Begin(user("mallory"))
		<-first.Clean
		time.Sleep(30500 * time.Millisecond) // between two looks
		for i, u := range []string{"mallory", "eve", "bob"} {
			c.Add(fmt.Sprint(i), u)
		}
		second := s.Begin(func(u string) bool { return u != "bob" })
		<-second.Clean
		one, _ := first.Ended()
		both, _ := second.Ended()
		if one != 1 || both != 2 || counted.Value() != 2 || c.IDs() != "2" {
			t.Errorf("ended %d and %d, counted %v, left %s", one, both, counted.Value(), c.IDs())
		}
		<-first.Done
		if isClosed(second.Done) {
			t.Error("the second ended with the first")
		}
		c.Add("3", "eve")
		time.Sleep(1100 * time.Millisecond)
		if c.IDs() != "2" || counted.Value() != 3 {
			t.Errorf("after the first: left %s, counted %v", c.IDs(), counted.Value())
		}
		<-second.Done

		// coturn numbers its sessions anew when it is restarted.
		c.Add("0", "mallory")
		<-s.Begin(user("mallory")).Clean
		if counted.Value() != 4 {
			t.Errorf("counted %v", counted.Value())
		}
	})
}

func TestSweeperStopsAtOnce(t *testing.T) {
	for name, c := range map[string]*callstest.CLI{
		"idle":             {},
		"never rid of one": {Lag: time.Hour, Open: []coturn.Session{{ID: "1", Username: "mallory"}}},
		"failing":          {Err: coturn.ErrNoCLI},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := calls.NewSweeper(c, slog.New(slog.DiscardHandler), generic.NewCounter("cancelled"))
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
