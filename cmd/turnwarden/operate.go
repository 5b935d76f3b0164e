package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// A request asks a running turnwarden for something, over its admin socket.
type request func(ctx context.Context, c *admin.Client, report func(admin.Step)) error

// operatorCommands adds the commands that are requests, and returns these by name.
func operatorCommands(app *kingpin.Application, f *flags) map[string]request {
	requests := map[string]request{}
	add := func(name, help string) *kingpin.CmdClause {
		c := app.Command(name, help)
		socketFlag(c, f)
		return c
	}
	add("rotate", "Publish a new credential now; the old one works until its expiry.")
	requests["rotate"] = func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Rotate(ctx, report)
	}
	requests["revoke"] = revoke(add("revoke", "Take compromised credentials out of use at once and end the calls made with them."))
	requests["maintenance"] = maintenance(add("maintenance", "Take the node out of the list while everything goes on running, over restarts too, or end that."))
	addDrain(requests, add)
	addImport(requests, add)
	add("upgrade", "Have the running turnwarden become the version that is installed now; TURN server, calls, listeners and record go on.")
	requests["upgrade"] = func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Upgrade(ctx, report)
	}
	return requests
}

// operate makes a request and prints its steps as they are done. A signal ends the
// wait, and not what was asked.
func operate(f flags, stdout io.Writer, s *signals, r request) error {
	ctx, stop := s.interrupt()
	defer stop()
	p := newPrinter(stdout)
	err := r(ctx, admin.NewClient(f.socket), p.print)
	p.end()
	if ctx.Err() != nil {
		return errors.New("interrupted; what was asked goes on, and turnwarden's log says what was done")
	}
	return err
}

// generation is the number of one, as a flag.
type generation uint64

func (g *generation) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return fmt.Errorf("--generation: found %q; accepted: a number from 1, as in the record and the log", s)
	}
	*g = generation(n)
	return nil
}

func (g *generation) String() string { return strconv.FormatUint(uint64(*g), 10) }

func revoke(cmd *kingpin.CmdClause) request {
	var r service.RevokeRequest
	cmd.Flag("generation", "Number of the compromised generation.").SetValue((*generation)(&r.Generation))
	cmd.Flag("all", "Every generation.").BoolVar(&r.All)
	cmd.Flag("user", "Username that is compromised; in secret mode, the id of a client.").StringVar(&r.User)
	cmd.Flag("keep-calls", "Leave running calls alone.").BoolVar(&r.KeepCalls)
	cmd.Flag("wait", "Return only after the last sweep, 65 s later, instead of after the first that finds nothing.").BoolVar(&r.Wait)
	return func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		named := 0
		for _, given := range []bool{r.Generation != 0, r.All, r.User != ""} {
			if given {
				named++
			}
		}
		if named != 1 {
			return refuse(fmt.Errorf("revoke: found %d of --generation, --all and --user; accepted: exactly one", named))
		}
		return c.Revoke(ctx, r, report)
	}
}

func maintenance(cmd *kingpin.CmdClause) request {
	var word string
	cmd.Arg("on|off", "Whether the node is in maintenance.").Required().EnumVar(&word, "on", "off")
	return func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Maintenance(ctx, word == "on", report)
	}
}
