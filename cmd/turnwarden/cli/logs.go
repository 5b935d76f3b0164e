package cli

import (
	"context"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/transport/admin"
)

// Logs shows the log of a running turnwarden.
func Logs(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "logs", "Show the last lines of the running turnwarden's log, those of turnserver among them.",
		"turnwarden logs -n 500", "turnwarden logs -f")
	socket := socketFlag(c)
	follow := c.Flag("follow", "Go on with what is logged from now on.").Short('f').Bool()
	lines := c.Flag("lines", "How many of the last lines; at most 1000 are kept.").Short('n').Default("100").Uint()
	return c.FullCommand(), func(ctx context.Context, _ io.Reader, out io.Writer) error {
		err := admin.NewClient(*socket).Logs(ctx, *lines, *follow, out)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // Ctrl-C is how following ends
		}
		return err
	}
}
