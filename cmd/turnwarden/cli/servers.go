package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/transport"
)

// Servers shows the nodes that are registered.
func Servers(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "servers", "Show the nodes that are registered in ZooKeeper, with the registry of either configuration file.",
		"turnwarden servers --config.file=/etc/turnwarden/gateway.yml --watch")
	file, output := configFlag(c), outputFlag(c)
	watch := c.Flag("watch", "Go on, and show the fleet anew each second.").Bool()
	return c.FullCommand(), func(ctx context.Context, _ io.Reader, out io.Writer) error {
		cfg, err := registryOf(*file)
		if err != nil {
			return service.Refuse(err)
		}
		return showServers(ctx, cfg, *output, *watch, out)
	}
}

// fleetPatience is how long ZooKeeper may take to tell who is there.
const fleetPatience = 15 * time.Second

// showServers reads the fleet as a gateway does, and shows it.
func showServers(ctx context.Context, cfg fleet.Config, output string, watch bool, out io.Writer) (err error) {
	none := discard.NewCounter()
	w := fleet.NewWatcher(cfg, func(*fleet.Snapshot) {}, slog.New(slog.DiscardHandler),
		fleet.Metrics{Metrics: directory.Metrics{Operations: none, Failures: none}, Rejected: none})
	running, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	defer func() {
		end()
		err = errors.Join(err, <-ended)
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for !w.Snapshot().Complete {
		if time.Since(began) > fleetPatience {
			return fmt.Errorf("ZooKeeper at %s: no answer within %v (%s)", strings.Join(cfg.Directory.Servers, ", "), fleetPatience, w.Session().LastError)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	tick.Reset(time.Second)
	between := "" // one table and the next
	if watch && output == "text" {
		between = "\n"
		if IsTerminal(out) {
			between = "\x1b[H\x1b[2J"
		}
	}
	for {
		status := transport.NewFleetStatus(w.Snapshot(), w.Session(), time.Now())
		fmt.Fprint(acting(out), between)
		if err := printServers(out, status, output); err != nil || !watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// registryOf says which fleet a configuration file of either kind is about.
func registryOf(path string) (fleet.Config, error) {
	if config.IsGateway(path) {
		cfg, err := config.LoadGateway(path)
		if err != nil {
			return fleet.Config{}, err
		}
		r := cfg.Registry
		session, err := r.Session()
		// As the gateway sees it.
		return fleet.Config{Directory: session, Path: r.Path, Allows: transport.NodeAccess{Allow: config.Prefixes(cfg.Gateway.Node.AllowCIDRs)}.Allows}, err
	}
	cfg, err := config.LoadNode(path)
	if err != nil {
		return fleet.Config{}, err
	}
	r := cfg.Registry
	if len(r.ZooKeeper) == 0 {
		return fleet.Config{}, errors.New(path + ": registry.zookeeper: found nothing; accepted: the ZooKeeper servers where the nodes are registered")
	}
	session, err := r.Session()
	return fleet.Config{Directory: session, Path: r.Path}, err
}

func printServers(w io.Writer, s transport.FleetStatus, output string) error {
	if output == "json" {
		return json.NewEncoder(w).Encode(s)
	}
	if !s.Live {
		fmt.Fprintf(w, "ZooKeeper: %s; this is what was last seen, at %s\n", s.ZooKeeper, s.Seen.Format(time.TimeOnly))
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tSTATE\tHEADROOM\tFREE\tCAPACITY\tALLOCATIONS\tGENERATION\tAGE\tVERSION")
	for _, n := range s.Nodes {
		state := n.State
		if n.Held {
			state += ", vanished"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.1f\t%.1f\t%d\t%d\t%.0fs\t%s\n", n.Node, state, bar(n.FreeMbps, n.CapacityMbps), n.FreeMbps, n.CapacityMbps,
			n.Allocations, n.Generation, n.AgeSeconds, n.Version)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print the servers: %w", err)
	}
	fmt.Fprintf(w, "%d nodes; free and capacity in Mbit/s\n", len(s.Nodes))
	if s.Rejected > 0 {
		fmt.Fprintf(w, "%d records cannot be understood\n", s.Rejected)
	}
	return nil
}

// bar shows which part is free. Where anything is, it shows.
func bar(free, capacity float64) string {
	const width = 10
	full := 0
	if free > 0 {
		full = int(math.Ceil(width * min(1, free/max(free, capacity))))
	}
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
