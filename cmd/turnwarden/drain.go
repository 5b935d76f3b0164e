package main

import (
	"context"
	"errors"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/drain"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// addDrain adds the commands that empty a node.
func addDrain(requests map[string]request, add func(name, help string) *kingpin.CmdClause) {
	drain := add("drain", "Take the node out of the list, wait for its calls to end, and go on. Ctrl-C leaves it running; exit code 3 when the deadline cut calls.")
	requests["drain"] = emptying(drain, "stop", func(then *string) {
		drain.Flag("then", "What follows: stop (turnwarden ends), restart (turnserver is started anew and the node listed again) or hold (nothing, until turnwarden resume).").
			Default(service.ThenStop).EnumVar(then, service.ThenStop, service.ThenRestart, service.ThenHold)
	})
	requests["restart"] = emptying(add("restart", "Drain, and start turnserver anew: drain --then restart."), service.ThenRestart, func(*string) {})
	requests["reload"] = reloading(add("reload", "Look at both configuration files, the certificates and the files they name again, like SIGHUP. What touches no call is in force at once; what waits is named. Exit code 1 when something waits or fails, 2 when a file has a mistake and nothing is done, 3 when the deadline of --drain cut calls."))
	add("resume", "End a drain: the node is listed again. What cannot be undone is said.")
	requests["resume"] = func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Resume(ctx, report)
	}
}

func emptying(cmd *kingpin.CmdClause, then string, more func(then *string)) request {
	r := service.DrainRequest{Then: then}
	cmd.Flag("deadline", "How long calls may take to end, from when the node is unlisted. Then those that are left are cut.").Default("30m").DurationVar(&r.Limit)
	cmd.Flag("no-lock", "Do not wait for other nodes of the fleet that drain, nor ask ZooKeeper who does.").BoolVar(&r.NoLock)
	more(&r.Then)
	return func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		return c.Drain(ctx, r, report)
	}
}

func reloading(cmd *kingpin.CmdClause) request {
	var r service.ReloadRequest
	var limited bool
	cmd.Flag("drain", "Drain, and start turnserver anew, where something waits for that.").BoolVar(&r.Drain)
	cmd.Flag("deadline", "With --drain: how long calls may take to end. Then those that are left are cut.").Default("30m").IsSetByUser(&limited).DurationVar(&r.Limit)
	cmd.Flag("no-lock", "With --drain: do not wait for other nodes of the fleet that drain, nor ask ZooKeeper who does.").BoolVar(&r.NoLock)
	return func(ctx context.Context, c *admin.Client, report func(admin.Step)) error {
		if (limited || r.NoLock) && !r.Drain {
			return refuse(errors.New("reload: found --deadline or --no-lock alone; accepted: together with --drain, for nothing else waits for calls"))
		}
		return c.Reload(ctx, r, report)
	}
}

// noticeIntervals is how many intervals a reader may take to notice that a record has
// changed: one that sees it stand still for longer gives the node up.
const noticeIntervals = 3

func drainConfig(cfg config.Node, hurry <-chan struct{}) drain.Config {
	return drain.Config{
		Limit:          cfg.Coturn.DrainTimeout,
		Notice:         max(noticeIntervals*cfg.Traffic.Interval, cfg.Registry.SessionTimeout),
		SessionTimeout: cfg.Registry.SessionTimeout, Hurry: hurry,
	}
}
