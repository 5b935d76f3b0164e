package cli

import (
	"context"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/dashboards"
)

// Dashboards writes what Grafana and Prometheus load.
func Dashboards(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "dashboards", "Write the Grafana dashboards, the Prometheus rules and examples of how to load them.",
		"turnwarden dashboards --out=/etc/grafana/turnwarden")
	dir := c.Flag("out", "Directory to write to.").Required().String()
	var o dashboards.Options
	c.Flag("runbook-base-url", "Page that the alerts' runbook_url points into.").Default(dashboards.RunbookBaseURL).StringVar(&o.RunbookBaseURL)
	return c.FullCommand(), func(context.Context, io.Reader, io.Writer) error { return dashboards.Write(*dir, o) }
}
