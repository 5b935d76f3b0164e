package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service/doctor"
)

// Exit codes of doctor, as documented.
const (
	exitWarnings = 3
	exitErrors   = 4
)

// Doctor looks for what is wrong with a host; its error carries the exit code.
func Doctor(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "doctor", "Look for what is wrong with this host, its configuration and its security, and say what mends it; nothing is changed. Exit code 0: nothing, 3: warnings, 4: errors.",
		"turnwarden doctor", "turnwarden doctor --config.file=/etc/turnwarden/turnwarden.yml --output=json")
	file, output := configFlag(c), outputFlag(c)
	return c.FullCommand(), func(ctx context.Context, _ io.Reader, out io.Writer) error {
		p := inspect(ctx, *file)
		all := doctor.Examine(p)
		d := diagnosis{doctor.Worst(all), all, doctor.Diff(p.Conf, all)}
		if *output == "json" {
			if err := printJSON(out, d); err != nil {
				return fmt.Errorf("write the findings: %w", err)
			}
		} else {
			d.print(out)
		}
		return d.outcome()
	}
}

// diagnosis is the JSON that doctor prints.
type diagnosis struct {
	Worst    doctor.Severity  `json:"worst"`
	Findings []doctor.Finding `json:"findings"`
	Diff     string           `json:"diff,omitempty"`
}

func (d diagnosis) outcome() error {
	switch d.Worst {
	case doctor.Error:
		return &ExitError{exitErrors, errors.New("doctor: found errors")}
	case doctor.Warning:
		return &ExitError{exitWarnings, errors.New("doctor: found warnings")}
	default:
		return nil
	}
}

func (d diagnosis) print(w io.Writer) {
	w = sanitized{w}
	count := map[doctor.Severity]int{}
	for _, f := range d.Findings {
		count[f.Severity]++
		if f.Severity == doctor.Fine {
			continue
		}
		fmt.Fprintf(w, "%-7s  %s: %s\n", f.Severity, f.Check, f.Found)
		if f.Fix != "" {
			fmt.Fprintf(w, "%9s-> %s\n", "", f.Fix)
		}
	}
	fmt.Fprintf(w, "%d errors, %d warnings, %d checks without a finding\n", count[doctor.Error], count[doctor.Warning], count[doctor.Fine])
	if d.Diff != "" {
		fmt.Fprintf(w, "\nWhat of this a diff can mend; nothing has been changed:\n\n%s", d.Diff)
	}
}

// oneLine is an error in a line of its own for each that it joins.
func oneLine(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(err.Error()), "\n")
}
