package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// generation is the number of one, as a flag.
type generation uint64

// Set implements kingpin.Value.
func (g *generation) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 {
		return fmt.Errorf("--generation: found %q; accepted: a number from 1, as in the record and the log", s)
	}
	*g = generation(n)
	return nil
}

func (g *generation) String() string { return strconv.FormatUint(uint64(*g), 10) }

// Revoke takes compromised credentials out of use.
func Revoke(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "revoke", "Take compromised credentials out of use at once and end the calls made with them.",
		"turnwarden revoke --generation=7", "turnwarden revoke --all --wait", "turnwarden revoke --user=alice")
	var r service.RevokeRequest
	o.Flag("generation", "Number of the compromised generation.").SetValue((*generation)(&r.Generation))
	o.Flag("all", "Every generation.").BoolVar(&r.All)
	o.Flag("user", "Username that is compromised; in secret mode, the id of a client.").StringVar(&r.User)
	o.Flag("keep-calls", "Leave running calls alone.").BoolVar(&r.KeepCalls)
	o.Flag("wait", "Return only after the last sweep, 65 s later, instead of after the first that finds nothing.").BoolVar(&r.Wait)
	return o.asks(func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		named := 0
		for _, given := range []bool{r.Generation != 0, r.All, r.User != ""} {
			if given {
				named++
			}
		}
		if named != 1 {
			return service.Refuse(fmt.Errorf("revoke: found %d of --generation, --all and --user; accepted: exactly one", named))
		}
		return c.Revoke(ctx, r, report)
	})
}
