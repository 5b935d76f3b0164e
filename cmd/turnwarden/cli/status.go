package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// Status shows a node, and exits with 0 whatever its state: what was asked has been
// answered.
func Status(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "status", "Show the running node on one screen: whether clients are sent here, why not, and how its parts are.",
		"turnwarden status", "turnwarden status --output=json")
	socket, output := socketFlag(c), outputFlag(c)
	return c.FullCommand(), func(ctx context.Context, _ io.Reader, out io.Writer) error {
		status, err := admin.NewClient(*socket).Status(ctx)
		if err != nil {
			return err
		}
		if *output == "json" {
			return printJSON(out, status)
		}
		return writeStatus(out, status, IsTerminal(out))
	}
}

// writeStatus is the screen, in colour where that is wanted.
func writeStatus(w io.Writer, s transport.Status, colour bool) error {
	w = sanitized{acting(w)}
	tone := map[string]string{service.StateUp: "32", service.StateDown: "31", service.StateForeignServer: "31"}[s.State]
	if tone == "" {
		tone = "33"
	}
	state := inLine(s.State)
	if colour {
		state = "\x1b[1;" + tone + "m" + state + "\x1b[0m"
	}
	fmt.Fprintf(acting(w), "%s  %s  %.1f of %.1f Mbit/s free, %d allocations\n", inLine(s.Node), state, s.Traffic.FreeMbps, s.Traffic.CapacityMbps, s.Server.Allocations)
	for _, r := range s.Reasons {
		fmt.Fprintf(w, "  %s\n", inLine(r))
	}
	for _, n := range s.Notes {
		fmt.Fprintf(w, "  note: %s\n", n)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t)
	line := func(name string, parts ...string) {
		kept := parts[:0]
		for _, p := range parts {
			if p != "" {
				kept = append(kept, p)
			}
		}
		fmt.Fprintf(t, "%s\t%s\n", name, inLine(strings.Join(kept, ", ")))
	}
	line("TURN server", s.Server.State, some("pid %d", s.Server.PID), ago("up for %s", s.At, s.Server.Started), fmt.Sprintf("%d restarts", s.Server.Restarts),
		lastExit(s), s.Server.KeptDown, s.Server.StartError)
	probeError := s.Probe.Error
	if s.Probe.Failures == 0 { // of an outage that is over; it is among the last errors
		probeError = ""
	}
	line("Probe", map[bool]string{true: "serving", false: "not serving"}[s.Probe.Serving], fmt.Sprintf("%.1f ms", s.Probe.RTTSeconds*1000),
		ago("%s ago", s.At, s.Probe.At), some("%d failures in a row", s.Probe.Failures), probeError)
	line("Credential", fmt.Sprintf("generation %d", s.Credential.Generation), ago("published %s ago", s.At, s.Credential.Published),
		ago("valid for %s", s.Credential.Expires, s.At), fmt.Sprintf("%d on record", len(s.Credential.Generations)),
		some("%d deletes pending", s.Credential.DeletesPending), s.Credential.Failure)
	line("Traffic", fmt.Sprintf("received %.1f, sent %.1f Mbit/s", s.Traffic.RxMbps, s.Traffic.TxMbps), strings.Join(s.Traffic.Interfaces, " + "), s.Traffic.Error)
	registry := []string{"standalone"}
	if r := s.Registry; r != nil {
		registry = []string{r.Session, map[bool]string{true: "registered", false: "not registered"}[r.Registered], ago("written %s ago", s.At, r.LastWrite), r.Conflict, r.Error}
	}
	line("Registry", registry...)
	line("Version", s.Version)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	if len(s.Troubles) > 0 {
		fmt.Fprintln(w, "\nLast warnings and errors:")
	}
	for _, l := range s.Troubles {
		part := l.Part
		if part != "" {
			part += ": "
		}
		fmt.Fprintf(w, "  %s  %-5s  %s\n", l.At.Format(time.DateTime), inLine(l.Level), inLine(part+l.Message+" "+l.Detail))
	}
	return nil
}

// some says a number that is worth a word.
func some(format string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, n)
}

// ago says how long before now a time was; nothing where it has not been.
func ago(format string, now, then time.Time) string {
	if now.IsZero() || then.IsZero() {
		return ""
	}
	d := now.Sub(then).Round(time.Second)
	if d < time.Hour {
		return fmt.Sprintf(format, d)
	}
	return fmt.Sprintf(format, strings.TrimSuffix(d.Round(time.Minute).String(), "0s"))
}

func lastExit(s transport.Status) string {
	if s.Server.LastExit == "" {
		return ""
	}
	return "last ended by " + s.Server.LastExit + ago(" %s ago", s.At, s.Server.LastExitAt)
}
