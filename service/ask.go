package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/fleet"
)

const (
	// askTimeout is what a node has to answer from memory. An answer that comes later
	// might hold what was revoked meanwhile.
	askTimeout = 1500 * time.Millisecond
	maxAsked   = 6 // nodes for one request
)

// ask gets a credential from the node that was picked, and from others where that one
// fails or takes long. The first answer counts.
func (g *Gateway) ask(ctx context.Context, r CredentialRequest, first []*fleet.Candidate) (Credential, error) {
	type answer struct {
		credential Credential
		err        error
	}
	answers := make(chan answer, maxAsked) // nobody waits for the late ones
	tried := make(map[string]bool)
	running, asked := 0, 0
	next := func() bool {
		name, ok := g.another(r, first, tried)
		if first = nil; !ok || asked == maxAsked {
			return false
		}
		running, asked = running+1, asked+1
		go func() {
			c, err := g.fetch(ctx, name, r)
			answers <- answer{c, err}
		}()
		return true
	}
	if !next() {
		return Credential{}, fmt.Errorf("%w: %w", ErrNoCredential, ErrNoServer)
	}
	hedge := time.NewTimer(g.cfg.HedgeAfter)
	defer hedge.Stop()
	for running > 0 {
		select {
		case <-ctx.Done():
			return Credential{}, ctx.Err()
		case <-hedge.C:
			if next() {
				g.counts.slow.Add(1)
				hedge.Reset(g.cfg.HedgeAfter)
			}
		case a := <-answers:
			running--
			if a.err == nil || errors.Is(a.err, ErrBadRequest) {
				return a.credential, a.err
			}
			if next() {
				g.counts.failed.Add(1)
				hedge.Reset(g.cfg.HedgeAfter)
			}
		}
	}
	return Credential{}, fmt.Errorf("%w: none of the %d TURN servers that were asked has one", ErrNoCredential, asked)
}

// another picks a node that was not tried, those first that need not be avoided. One that
// names no address is none: no client would know where it is.
func (g *Gateway) another(r CredentialRequest, picks []*fleet.Candidate, tried map[string]bool) (name string, ok bool) {
	s := g.watcher.Snapshot()
	useless := func(name string) bool {
		n := s.Find(name)
		return tried[name] || n == nil || len(n.Record.URIs) == 0
	}
	rules := []func(string) bool{useless}
	if avoid := g.avoid.check(time.Now()); avoid != nil {
		rules = []func(string) bool{func(name string) bool { return useless(name) || avoid(name) }, useless}
	}
	for _, rule := range rules {
		if len(picks) == 0 || useless(picks[0].Node) {
			picks = g.picker.Pick(nil, fleet.Want{Region: r.Region, Zone: r.Zone, Avoid: rule})
		}
		if len(picks) > 0 && !useless(picks[0].Node) {
			tried[picks[0].Node] = true
			return picks[0].Node, true
		}
	}
	return "", false
}

// fetch gets the credential of one node: the one that is kept, the one that is being
// asked for, or, where each client has its own, the client's own.
func (g *Gateway) fetch(ctx context.Context, name string, r CredentialRequest) (c Credential, err error) {
	for range 2 {
		now, s := time.Now(), g.watcher.Snapshot()
		n := s.Find(name)
		if n == nil {
			return Credential{}, fmt.Errorf("%s is gone", name)
		}
		switch kept, ok := g.kept.get(n, s.Live(now), now); {
		case ok:
			c = kept
		case n.Record.Mode == string(coturn.ModeSecret):
			// What no node takes, as a name of many kilobytes, is no reason to avoid one.
			if _, _, err = r.wishes(); err == nil {
				c, err = g.call(ctx, n, r)
			}
		default:
			c, err = g.flights.join(ctx, name, issueOf(n), func() (Credential, error) {
				c, err := g.call(context.WithoutCancel(ctx), n, CredentialRequest{})
				if err == nil {
					g.kept.put(name, keptCredential{issueOf(n), c, now})
				}
				return c, err
			})
		}
		c.URIs = n.Record.URIs
		// The node may have handed out another one since it was asked, for the one that
		// came back is compromised.
		if after := g.watcher.Snapshot().Find(name); err != nil || after == nil || issueOf(after) == issueOf(n) {
			return c, err
		}
	}
	return c, err
}

// call asks the node and draws the conclusions. It goes on when the one who asked has
// got an answer elsewhere, for a node that hangs is to be found out.
func (g *Gateway) call(ctx context.Context, n *fleet.Node, r CredentialRequest) (Credential, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	began := time.Now()
	c, err := g.client.Credential(ctx, n, r)
	if errors.Is(err, ErrBadRequest) && r.UserID == "" && r.TTL == "" {
		err = fmt.Errorf("%s refuses a request that says nothing: %s", n.Name, err.Error())
	}
	g.metrics.Fetch.Observe(time.Since(began).Seconds())
	g.counts.fetches.Add(1)
	switch {
	case errors.Is(err, ErrBadRequest): // not the node's fault
	case err != nil:
		g.counts.fetchesFailed.Add(1)
		if g.avoid.failed(n, err, time.Now()) {
			g.logger.Warn("a node could not be asked for a credential: it is picked only if there is no other, until it answers again", "node", n.Name, "err", err)
		}
	default:
		if g.avoid.answered(n.Name) {
			g.logger.Info("a node answers again", "node", n.Name)
		}
	}
	c.Generation = n.Record.Generation
	return c, err
}

// flights are the questions under way whose answer is for everybody: a thousand clients
// that come at once are no reason to ask a thousand times.
type flights struct {
	mu sync.Mutex
	m  map[flightKey]*flight
}

type flightKey struct {
	name  string
	issue issue
}

type flight struct {
	done       chan struct{}
	credential Credential
	err        error
}

// join waits for the answer that somebody else has asked for, or asks.
func (f *flights) join(ctx context.Context, name string, i issue, ask func() (Credential, error)) (Credential, error) {
	key := flightKey{name, i}
	f.mu.Lock()
	under, ok := f.m[key]
	if !ok {
		under = &flight{done: make(chan struct{})}
		if f.m == nil {
			f.m = make(map[flightKey]*flight)
		}
		f.m[key] = under
		go func() {
			under.credential, under.err = ask()
			f.mu.Lock()
			delete(f.m, key)
			f.mu.Unlock()
			close(under.done)
		}()
	}
	f.mu.Unlock()
	select {
	case <-under.done:
		return under.credential, under.err
	case <-ctx.Done():
		return Credential{}, ctx.Err()
	}
}
