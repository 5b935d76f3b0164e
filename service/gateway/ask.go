package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/turnwarden/turnwarden/service"
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
func (g *Gateway) ask(ctx context.Context, r service.CredentialRequest, first []*fleet.Candidate) (service.Credential, error) {
	type answer struct {
		credential service.Credential
		err        error
	}
	ctx, end := context.WithCancel(ctx)
	defer end() // nobody waits for the late ones
	answers := make(chan answer, maxAsked)
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
		return service.Credential{}, fmt.Errorf("%w: %w", service.ErrNoCredential, service.ErrNoServer)
	}
	hedge := time.NewTimer(g.cfg.HedgeAfter)
	defer hedge.Stop()
	for running > 0 {
		select {
		case <-ctx.Done():
			return service.Credential{}, ctx.Err()
		case <-hedge.C:
			if next() {
				g.counts.slow.Add(1)
				hedge.Reset(g.cfg.HedgeAfter)
			}
		case a := <-answers:
			running--
			if a.err == nil || errors.Is(a.err, service.ErrBadRequest) {
				return a.credential, a.err
			}
			if next() {
				g.counts.failed.Add(1)
				hedge.Reset(g.cfg.HedgeAfter)
			}
		}
	}
	return service.Credential{}, fmt.Errorf("%w: none of the %d TURN servers that were asked has one", service.ErrNoCredential, asked)
}

// another picks a node that was not tried, those first that need not be avoided. One that
// names no address is none: no client would know where it is.
func (g *Gateway) another(r service.CredentialRequest, picks []*fleet.Candidate, tried map[string]bool) (name string, ok bool) {
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
func (g *Gateway) fetch(ctx context.Context, name string, r service.CredentialRequest) (c service.Credential, err error) {
	for range 2 {
		now, s := time.Now(), g.watcher.Snapshot()
		n := s.Find(name)
		if n == nil {
			return service.Credential{}, fmt.Errorf("%s is gone", name)
		}
		switch kept, ok := g.kept.get(n, s.Live(now), now); {
		case ok:
			c = kept
		case n.Record.Mode == string(coturn.ModeSecret):
			// What no node takes, as a name of many kilobytes, is no reason to avoid one.
			if _, _, err = r.Wishes(); err == nil {
				c, err = g.call(ctx, n, r)
			}
		default:
			c, err = g.share(ctx, n, now)
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

// share asks a node for the credential that all its clients share, or waits for the answer
// that somebody else has asked for: a thousand clients that come at once are no reason to
// ask a thousand times. Who stops waiting takes nothing from the others.
func (g *Gateway) share(ctx context.Context, n *fleet.Node, now time.Time) (service.Credential, error) {
	asked := issueOf(n)
	answer := g.flights.DoChan(fmt.Sprint(n.Name, asked), func() (any, error) {
		c, err := g.call(context.WithoutCancel(ctx), n, service.CredentialRequest{})
		if err == nil {
			g.kept.put(n.Name, keptCredential{asked, c, now})
		}
		return c, err
	})
	select {
	case a := <-answer:
		return a.Val.(service.Credential), a.Err
	case <-ctx.Done():
		return service.Credential{}, ctx.Err()
	}
}

// call asks the node and draws the conclusions.
func (g *Gateway) call(ctx context.Context, n *fleet.Node, r service.CredentialRequest) (service.Credential, error) {
	ctx, end, err := g.asked.begin(ctx, n.Name)
	if err != nil {
		return service.Credential{}, fmt.Errorf("ask %s: %w", n.Name, err)
	}
	defer end()
	began := time.Now()
	c, err := g.client.Credential(ctx, service.ServerOf(n), r, func(ahead time.Duration) { g.clock(n.Name, ahead) })
	if err == nil {
		err = check(c, time.Now())
	}
	if errors.Is(err, service.ErrBadRequest) && r.UserID == "" && r.TTL == "" {
		err = fmt.Errorf("%s refuses a request that says nothing: %s", n.Name, err.Error())
	}
	g.cfg.Metrics.Fetch.Observe(time.Since(began).Seconds())
	g.counts.fetches.Add(1)
	switch {
	case errors.Is(err, service.ErrBadRequest), ours(err): // not the node's fault
	case err != nil:
		g.counts.fetchesFailed.Add(1)
		if g.avoid.failed(n, err, time.Now()) {
			g.cfg.Logger.Warn("a node could not be asked for a credential: it is picked only if there is no other, until it answers again", "node", n.Name, "err", err)
		}
	default:
		if g.avoid.answered(n.Name) {
			g.cfg.Logger.Info("a node answers again", "node", n.Name)
		}
	}
	c.Generation = n.Record.Generation
	return c, err
}

// clock takes over how far a node's clock is ahead of ours.
func (g *Gateway) clock(name string, ahead time.Duration) {
	switch news, off := g.clocks.measured(name, ahead); {
	case !news:
	case off:
		g.cfg.Logger.Warn("a node's clock differs from ours: clients are told wrong times, and what it hands out may have expired", "node", name, "offset", ahead.Round(time.Second))
	default:
		g.cfg.Logger.Info("a node's clock is right again", "node", name)
	}
}
