package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/turnwarden/turnwarden/service"
)

// notifier speaks sd_notify, where systemd (or anything that sets NOTIFY_SOCKET)
// listens. READY=1 is sent once the node serves and never waits for ZooKeeper.
type notifier struct {
	state  func() (ready bool, words string)
	logger *slog.Logger
	stop   func() time.Duration // what an orderly stop may take
}

func (n *notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.logger.Warn("sd_notify failed; systemd may think that turnwarden hangs", "err", err)
	}
}

// nodeState says whether the start of a node is over, as it is in maintenance, too.
func nodeState(status func() service.Status) func() (bool, string) {
	return func() (bool, string) {
		reasons := service.Readiness(status())
		words := service.State(reasons)
		if len(reasons) > 0 {
			words += ": " + reasons[0].Text
		}
		return service.Serves(reasons), words
	}
}

// gatewayState has the start of a gateway over when it listens, for it answers, if only
// that there is no server.
func gatewayState(status func() service.GatewayStatus) func() (bool, string) {
	return func() (bool, string) {
		s := status()
		if why := s.Why(); why != "" {
			return true, "no server to hand out: " + why
		}
		return true, fmt.Sprintf("%d of %d servers can be handed out", s.Usable(), len(s.Fleet.Nodes))
	}
}

// run sends READY=1, STATUS= and WATCHDOG=1 until ctx ends, then STOPPING=1. Each
// turn takes a Status first: a part that holds its lock for ever ends the pings.
func (n *notifier) run(ctx context.Context) error {
	every := time.Second
	if limit, err := daemon.SdWatchdogEnabled(false); err == nil && limit > 0 {
		every = min(every, limit/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	ready := false
	for {
		begun, words := n.state()
		state := "WATCHDOG=1\nSTATUS=" + words
		switch {
		case ready:
		case begun:
			ready = true
			state += "\nREADY=1"
		default:
			// A start takes as long as the TURN server needs: a restart of
			// turnwarden would only begin it again.
			state += fmt.Sprintf("\nEXTEND_TIMEOUT_USEC=%d", (30 * time.Second).Microseconds())
		}
		n.send(state)
		select {
		case <-ctx.Done():
			n.send(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", n.stop().Microseconds()))
			return nil
		case <-tick.C:
		}
	}
}
