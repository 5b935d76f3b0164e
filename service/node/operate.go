package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
)

// cleanLimit bounds the wait for the first look that finds no session left.
const cleanLimit = 10 * time.Second

// Rotate publishes a successor now.
func (n *Node) Rotate(ctx context.Context, by string, report func(service.Step)) error {
	if err := n.whileRefusing(); err != nil {
		return err
	}
	done, err := n.parts.Credentials.Rotate(ctx, by)
	for _, s := range done.Steps {
		report(step(s))
	}
	return err
}

// step is a step of the credentials, in words.
func step(s credential.Step) service.Step {
	detail := fmt.Sprintf("generation %d", s.Generation)
	if s.User != "" {
		detail = "user " + s.User
	}
	return service.Step{Name: s.Name, Detail: detail, Took: s.Took, Err: s.Err}
}

// Revoke takes credentials out of use at once and ends the calls that were made with
// them. The error is the first thing that could not be done or proved.
func (n *Node) Revoke(ctx context.Context, r service.RevokeRequest, by string, report func(service.Step)) error {
	match, err := n.revokeCredentials(ctx, r, by, report)
	if match == nil || r.KeepCalls {
		return err
	}
	if sweepErr := n.endCalls(ctx, match, r.Wait, report); err == nil {
		err = sweepErr
	}
	return err
}

// revokeCredentials returns which usernames' sessions are to end, nil for none.
func (n *Node) revokeCredentials(ctx context.Context, r service.RevokeRequest, by string, report func(service.Step)) (match func(string) bool, err error) {
	secret := n.facts().Mode == coturn.ModeSecret
	if r.User != "" && secret {
		if r.KeepCalls {
			return nil, errors.New("nothing to do: in secret mode only the calls of a user can be ended; revoke the generation, or do not keep calls")
		}
		user := r.User[strings.IndexByte(r.User, ':')+1:] // also where the whole username is given
		report(service.Step{Name: "secret", Detail: "stays valid: whoever knows it can claim any name, and " + user + "'s own credential works until its expiry"})
		return func(username string) bool { return strings.HasSuffix(username, ":"+user) }, nil
	}
	if err := n.whileRefusing(); err != nil {
		return nil, err
	}
	id := r.Generation
	if r.User != "" {
		if id = n.parts.Credentials.Find(r.User); id == 0 {
			return nil, fmt.Errorf("no generation has the username %q", r.User)
		}
	}
	if id == 0 && !r.All {
		return nil, errors.New("nothing named: say which generation, which user, or all")
	}
	if secret {
		// How long it takes is up to the store and the server; the sweep comes after.
		n.fresh.begin(time.Now().Add(time.Hour))
		defer func() { n.fresh.begin(time.Now().Add(cleanLimit + calls.SweepFor)) }()
	}
	// Who hangs up while it waits for a step under way has asked for it all the same.
	usernames, err := n.parts.Credentials.Revoke(context.WithoutCancel(ctx), id, by, func(s credential.Step) { report(step(s)) })
	if len(usernames) == 0 {
		return nil, err
	}
	if secret && !r.KeepCalls {
		report(service.Step{Name: "secret", Detail: "whoever knew it can claim any name: every call ends"})
		successor, _ := n.parts.Credentials.Peek()
		return func(username string) bool { return !n.fresh.since(username, successor.Generation) }, err
	}
	revoked := map[string]bool{}
	for _, u := range usernames {
		revoked[u] = true
	}
	return func(username string) bool { return revoked[username] }, err
}

// endCalls ends the matching sessions and proves that none is left.
func (n *Node) endCalls(ctx context.Context, match func(string) bool, wait bool, report func(service.Step)) error {
	start := time.Now()
	sweep := n.parts.Sweeper.Begin(match)
	ctx, cancel := context.WithTimeout(ctx, cleanLimit+calls.SweepFor)
	defer cancel()
	limit := time.NewTimer(cleanLimit)
	defer limit.Stop()
	var err error
	select {
	case <-sweep.Clean:
	case <-sweep.Blind:
		_, err = sweep.Ended()
	case <-limit.C:
		if _, err = sweep.Ended(); err == nil {
			err = errors.New("sessions are left after " + cleanLimit.String())
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	ended, _ := sweep.Ended()
	left := "none left"
	if err != nil {
		left = "others may go on"
	}
	report(service.Step{Name: "calls", Detail: fmt.Sprintf("%d ended, %s; swept every second until %s", ended, left, sweep.Until.Format(time.TimeOnly)), Took: time.Since(start), Err: err})
	if !wait || err != nil {
		return err
	}
	select {
	case <-sweep.Done:
		after, err := sweep.Ended()
		report(service.Step{Name: "sweep", Detail: fmt.Sprintf("%d more ended", after-ended), Took: time.Since(start), Err: err})
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
