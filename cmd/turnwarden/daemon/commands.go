// Package daemon wires what runs until it is stopped: the node of a host, and a gateway. Parts
// first, then actors in the order in which they stop.
package daemon

import (
	"context"
	"io"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/service/journal"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// commandLine is what it says to both daemons.
type commandLine struct {
	config    string
	web       host.Web
	selfCheck bool // look at a handover on stdin, and start nothing
}

// flags registers those that both daemons have.
func (o *commandLine) flags(c *kingpin.CmdClause, address string) {
	c.Flag("config.file", "Configuration file.").Default("turnwarden.yml").StringVar(&o.config)
	c.Flag("web.listen-address", "Address of the status page, /metrics, /-/healthy and /-/ready.").Default(address).StringVar(&o.web.Listen)
	c.Flag("web.config.file", "TLS and basic auth of that address, as exporter-toolkit's web configuration.").StringVar(&o.web.ConfigFile)
	c.Flag("web.telemetry-path", "Path of the metrics.").Default("/metrics").StringVar(&o.web.TelemetryPath)
}

// Node registers turnwarden run. Its signals are its own: the second hurries it.
func Node(app *kingpin.Application, log *promslog.Config, thread *supervisor.Thread) (name string, run func(context.Context, io.Reader, io.Writer) error) {
	var o commandLine
	c := app.Command("run", "Run turnserver and everything around it until SIGTERM.").HelpLong(`Examples:
  turnwarden run --config.file=/etc/turnwarden/turnwarden.yml
  turnwarden run --config.file=turnwarden.yml --web.listen-address=127.0.0.1:13479 --log.format=json
`)
	o.flags(c, ":13479")
	c.Flag("self-check", "Prove that this version could go on for the one that runs, whose handover is on stdin.").Hidden().BoolVar(&o.selfCheck)
	return c.FullCommand(), func(_ context.Context, _ io.Reader, out io.Writer) error {
		tail := journal.NewTail()
		log.Writer = io.MultiWriter(tail, log.Writer) // of which the latter may fail
		return runNode(o, promslog.New(log), tail, out, processSignals(), thread)
	}
}

// Gateway registers turnwarden gateway.
func Gateway(app *kingpin.Application, log *promslog.Config) (name string, run func(context.Context, io.Reader, io.Writer) error) {
	var o commandLine
	c := app.Command("gateway", "Answer for all nodes that are registered in ZooKeeper, until SIGTERM.").HelpLong(`Examples:
  turnwarden gateway --config.file=/etc/turnwarden/gateway.yml
`)
	o.flags(c, ":13481")
	return c.FullCommand(), func(context.Context, io.Reader, io.Writer) error {
		return runGateway(o, promslog.New(log), processSignals())
	}
}
