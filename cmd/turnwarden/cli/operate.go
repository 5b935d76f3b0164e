package cli

import (
	"context"
	"errors"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/transport/admin"
)

// operation is a command that asks a running turnwarden for something, over its admin socket.
type operation struct {
	*kingpin.CmdClause
	socket *string
}

func newOperation(app *kingpin.Application, name, help string, examples ...string) operation {
	c := newCommand(app, name, help, examples...)
	return operation{c, socketFlag(c)}
}

// asks prints the steps of a request as they are done. A signal ends the wait, and not what
// was asked.
func (o operation) asks(request func(context.Context, *admin.Client, func(admin.Step)) error) (string, Run) {
	return o.FullCommand(), func(ctx context.Context, _ io.Reader, out io.Writer) error {
		p := newPrinter(out)
		err := request(ctx, admin.NewClient(*o.socket), p.print)
		p.end()
		if ctx.Err() != nil {
			return errors.New("interrupted; what was asked goes on, and turnwarden's log says what was done")
		}
		return err
	}
}

// Rotate publishes a new credential.
func Rotate(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "rotate", "Publish a new credential now; the old one works until its expiry.", "turnwarden rotate")
	return o.asks(func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Rotate(ctx, report)
	})
}

// Maintenance takes a node out of the list, and ends that.
func Maintenance(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "maintenance", "Take the node out of the list while everything goes on running, over restarts too, or end that.",
		"turnwarden maintenance on", "turnwarden maintenance off")
	word := o.Arg("on|off", "Whether the node is in maintenance.").Required().Enum("on", "off")
	return o.asks(func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Maintenance(ctx, *word == "on", report)
	})
}

// Upgrade has a running turnwarden become the version that is installed.
func Upgrade(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "upgrade", "Have the running turnwarden become the version that is installed now; TURN server, calls, listeners and record go on.",
		"turnwarden upgrade", "install -m 755 bin/turnwarden /usr/local/bin/ && turnwarden upgrade")
	return o.asks(func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Upgrade(ctx, report)
	})
}
