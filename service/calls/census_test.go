package calls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/coturn"
)

// roll is a turnserver with these allocations.
type roll struct {
	ids    []int
	broken error // of its CLI
	counts int
	lists  int
	mu     sync.Mutex
}

func (r *roll) Allocations(context.Context) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts++
	return len(r.ids), r.broken
}

func (r *roll) List(context.Context, string) (all []coturn.Session, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	for _, id := range r.ids {
		all = append(all, coturn.Session{ID: fmt.Sprintf("%018d", id), Started: time.Now()})
	}
	return all, r.broken
}

func (r *roll) sockets(int) (int, error) { return len(r.ids), nil }

func opened(log *calls.Log, ids ...int) {
	for _, id := range ids {
		log.Stdout(fmt.Appendf(nil, "1: : session %018d: new, realm=<r>, username=<u>, lifetime=600", id))
	}
}

func TestCensus(t *testing.T) {
	broken := errors.New("no CLI")
	for name, c := range map[string]struct {
		log    []int
		roll   *roll
		lists  int
		warned string
	}{
		"agreed":                 {log: []int{1, 2, 3}, roll: &roll{ids: []int{1, 2, 3}}},
		"idle":                   {},
		"forged":                 {log: []int{1, 2, 777, 778}, roll: &roll{ids: []int{1, 2}}, lists: 2, warned: "allocations=2"},
		"lost":                   {log: []int{1}, roll: &roll{ids: []int{1, 2, 3}}, lists: 2, warned: "allocations=3"},
		"all gone":               {log: []int{1, 2}, lists: 2, warned: "allocations=0"},
		"no CLI, agreed":         {log: []int{1}, roll: &roll{ids: []int{1}, broken: broken}},
		"no CLI, forged":         {log: []int{1, 777}, roll: &roll{ids: []int{1}, broken: broken}, warned: "allocations=1"},
		"no CLI, lost":           {log: []int{1}, roll: &roll{ids: []int{1, 2}, broken: broken}, warned: "allocations=2"},
		"as many forged as lost": {log: []int{1, 777}, roll: &roll{ids: []int{1, 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.roll == nil {
					c.roll = &roll{}
				}
				var out bytes.Buffer
				log := calls.NewLog(slog.New(slog.DiscardHandler))
				opened(log, c.log...)
				census := calls.NewCensus(log, func() int { return 1 }, c.roll, c.roll.sockets, release, logger(&out, slog.LevelInfo))
				begin := time.Now()
				n, err := census.Take(t.Context())
				if err != nil || n != len(c.roll.ids) || log.Sessions().Open != n {
					t.Errorf("counted %d, %v; %d open; want %d", n, err, log.Sessions().Open, len(c.roll.ids))
				}
				if took := time.Since(begin); took > 5*time.Second || c.lists == 0 && c.warned == "" && took > 0 {
					t.Errorf("it took %v", took)
				}
				if c.roll.lists != c.lists || c.warned == "" && out.Len() > 0 || !strings.Contains(out.String(), c.warned) {
					t.Errorf("listed %d times, want %d; logged %q, want %q", c.roll.lists, c.lists, &out, c.warned)
				}
				out.Reset()
				if _, err := census.Take(t.Context()); err != nil || out.Len() > 0 || c.roll.lists != c.lists {
					t.Errorf("the second time: %v, %q", err, &out)
				}
			})
		})
	}
}

func release() coturn.Version { return coturn.Version{Major: 4, Minor: 19} }

// A turnserver whose lines nobody understands has allocations all the same: that is said
// once, and nobody is suspected of forging.
func TestCensusOfALogThatIsNotUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := calls.NewLog(slog.New(slog.DiscardHandler))
		log.Stdout([]byte("2026-11-30T13:32:08.780+0000 INFO allocation made for <alice> [call 000000000000000001]"))
		r := &roll{ids: []int{1, 2}}
		census := calls.NewCensus(log, func() int { return 1 }, r, r.sockets, release, logger(&out, slog.LevelInfo))
		take := func() {
			t.Helper()
			if _, err := census.Take(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		take()
		r.ids = append(r.ids, 3)
		take()
		const want = `level=WARN msg="log format of coturn 4.19.0 not understood: counters are incomplete" allocations=2` + "\n"
		if out.String() != want || !log.Sessions().Unread || log.Sessions().Open != 3 {
			t.Errorf("logged %q, want %q; %+v", &out, want, log.Sessions().SessionTotals)
		}
		opened(log, 4)
		if log.Sessions().Unread {
			t.Error("a session was understood, and still the log is not")
		}
	})
}

// Relay sockets are counted while sessions come and go.
func TestCensusAmidProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := calls.NewLog(slog.New(slog.DiscardHandler))
		opened(log, 1, 2, 777, 778) // two are forged
		there := 2
		sockets := func(int) (int, error) {
			defer func() { // a line comes before the log is looked at again
				if there++; there == 3 {
					opened(log, 3)
					return
				}
				log.Stdout([]byte("1: : session 000000000000000003: delete: realm=<r>, username=<u>"))
				there = 2
			}()
			return there, nil
		}
		census := calls.NewCensus(log, func() int { return 1 }, &roll{broken: errors.New("no CLI")}, sockets, release, logger(&out, slog.LevelInfo))
		if _, err := census.Take(t.Context()); err != nil || log.Sessions().Open != there {
			t.Errorf("%d open, want %d (%v)", log.Sessions().Open, there, err)
		}
		if strings.Count(out.String(), "\n") != 1 {
			t.Errorf("logged %q", &out)
		}
	})
}

// In a busy hour the list is asked for when something is wrong, and then twice.
func TestCensusAsksLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := calls.NewLog(slog.New(slog.DiscardHandler))
		r := &roll{}
		for id := range 10_000 {
			r.ids = append(r.ids, id)
		}
		opened(log, r.ids...)
		census := calls.NewCensus(log, func() int { return 1 }, r, r.sockets, release, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- census.Run(ctx) }()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		opened(log, 50_000, 50_001)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := log.Sessions().Open; got != 10_000 {
			t.Errorf("%d open 20 s after lines were forged, want 10000", got)
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if r.lists != 2 || r.counts > 250 {
			t.Errorf("listed %d times, counted %d times in an hour", r.lists, r.counts)
		}
	})
}

// A CLI that fails is said once, and once that it works again; without a child
// nobody is asked.
func TestCensusFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := calls.NewLog(slog.New(slog.DiscardHandler))
		r := &roll{broken: errors.New("hung")}
		var pid atomic.Int64
		sockets := func(int) (int, error) { return 0, errors.New("no list of sockets") }
		census := calls.NewCensus(log, func() int { return int(pid.Load()) }, r, sockets, release, logger(&out, slog.LevelInfo))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- census.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if r.counts > 0 {
			t.Error("asked without a child")
		}
		pid.Store(1)
		time.Sleep(time.Minute)
		synctest.Wait()
		r.mu.Lock()
		r.broken = nil
		r.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n != 2 || !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "again") {
			t.Errorf("logged %d lines: %s", n, &out)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestCensusAfterTakeover: the child may be older than we are.
func TestCensusAfterTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := calls.NewLog(slog.New(slog.DiscardHandler))
		r := &roll{ids: []int{1, 2, 3}}
		census := calls.NewCensus(log, func() int { return 1 }, r, r.sockets, release, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- census.Run(ctx) }()
		time.Sleep(5 * time.Second)
		if got := log.Sessions(); got.Open != 3 || got.Created != 0 {
			t.Errorf("%d open, %d created; want 3, 0", got.Open, got.Created)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
