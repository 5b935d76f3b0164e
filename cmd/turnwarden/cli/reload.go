package cli

import (
	"context"
	"errors"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// Reload has the files looked at again.
func Reload(app *kingpin.Application) (string, Run) {
	o := newOperation(app, "reload", "Look at both configuration files, the certificates and the files they name again, like SIGHUP. What touches no call is in force at once; what waits is named. Exit code 1 when something waits or fails, 2 when a file has a mistake and nothing is done, 3 when the deadline of --drain cut calls.",
		"turnwarden reload", "turnwarden reload --drain --deadline=30m")
	var r service.ReloadRequest
	var limited bool
	o.Flag("drain", "Drain, and start turnserver anew, where something waits for that.").BoolVar(&r.Drain)
	o.Flag("deadline", "With --drain: how long calls may take to end. Then those that are left are cut.").Default("30m").IsSetByUser(&limited).DurationVar(&r.Limit)
	o.Flag("no-lock", "With --drain: do not wait for other nodes of the fleet that drain, nor ask ZooKeeper who does.").BoolVar(&r.NoLock)
	return o.asks(func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		if (limited || r.NoLock) && !r.Drain {
			return service.Refuse(errors.New("reload: found --deadline or --no-lock alone; accepted: together with --drain, for nothing else waits for calls"))
		}
		return c.Reload(ctx, r, report)
	})
}
