package upgrade

import (
	"context"
	"errors"
	"fmt"

	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// quiet brings the node to rest, but for the calls of its clients, whose requests are
// answered meanwhile.
func (u *Upgrader) quiet(ctx context.Context, reply *admin.Reply) (resume func(), err error) {
	for {
		if err := u.Parts.Settle(ctx, reply.Step); err != nil {
			return nil, fmt.Errorf("wait for a quiet moment: %w", err)
		}
		u.Lasting.Wait(ctx, lastingLimit)
		// What an operator asks for is not taken any more, and done if it was.
		var goOn func()
		var err error
		if u.Admin != nil {
			err = u.Admin.Park(ctx, patience, shutLimit)
		}
		if err == nil {
			goOn, err = u.Parts.Pause(ctx)
		}
		if err == nil {
			return func() { goOn(); u.openAdmin() }, nil
		}
		u.openAdmin()
		if !errors.Is(err, node.ErrBusy) {
			return nil, fmt.Errorf("wait for a quiet moment: %w", err)
		}
	}
}

func (u *Upgrader) openAdmin() {
	if u.Admin != nil {
		u.Admin.Open()
	}
}

// shut has new clients wait, and answers those that are here.
func (u *Upgrader) shut(ctx context.Context) error {
	errs := make(chan error)
	for _, g := range u.Gates {
		go func() { errs <- g.Park(ctx, 0, shutLimit) }() // what heeds its context is a stream
	}
	var err error
	for range u.Gates {
		err = errors.Join(err, <-errs)
	}
	return err
}

func (u *Upgrader) open() {
	for _, g := range u.Gates {
		g.Open()
	}
}
