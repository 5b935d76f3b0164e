package cli

import (
	"context"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// Drain empties a node.
func Drain(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "drain", "Take the node out of the list, wait for its calls to end, and go on. Ctrl-C leaves it running; exit code 3 when the deadline cut calls.",
		"turnwarden drain --deadline=30m", "turnwarden drain --then=hold")
	r := o.drainFlags()
	o.Flag("then", "What follows: stop (turnwarden ends), restart (turnserver is started anew and the node listed again) or hold (nothing, until turnwarden resume).").
		Default(service.ThenStop).EnumVar(&r.Then, service.ThenStop, service.ThenRestart, service.ThenHold)
	return o.drains(r)
}

// Restart drains, and starts turnserver anew.
func Restart(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "restart", "Drain, and start turnserver anew: drain --then restart.", "turnwarden restart --deadline=30m")
	r := o.drainFlags()
	r.Then = service.ThenRestart
	return o.drains(r)
}

func (o operation) drainFlags() *service.DrainRequest {
	var r service.DrainRequest
	o.Flag("deadline", "How long calls may take to end, from when the node is unlisted. Then those that are left are cut.").Default("30m").DurationVar(&r.Limit)
	o.Flag("no-lock", "Do not wait for other nodes of the fleet that drain, nor ask ZooKeeper who does.").BoolVar(&r.NoLock)
	return &r
}

func (o operation) drains(r *service.DrainRequest) (string, Run) {
	return o.asks(func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Drain(ctx, *r, report)
	})
}

// Resume ends a drain.
func Resume(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "resume", "End a drain: the node is listed again. What cannot be undone is said.", "turnwarden resume")
	return o.asks(func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Resume(ctx, report)
	})
}
