package doctor

import "slices"

// Severity says how bad a finding is.
type Severity string

// The severities. Fine is the word for a check without a finding.
const (
	Fine    Severity = "ok"
	Warning Severity = "warning"
	Error   Severity = "error"
)

// Finding is what one check has to say.
type Finding struct {
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Found    string   `json:"found,omitempty"` // one line each
	Fix      string   `json:"fix,omitempty"`
	edits    []edit
}

// check is one thing that is looked at. say is called for each thing that is wrong.
type check struct {
	name string
	run  func(p Patient, say say)
}

type say func(s Severity, found, fix string, edits ...edit)

// Examine runs every check, in order: what stops a node from serving comes first. A check
// that finds nothing says so. Without the two configuration files there is nothing that
// the others could be sure of.
func Examine(p Patient) []Finding {
	checks := slices.Concat(programs, readable)
	if p.Conf.Lines != nil {
		checks = slices.Concat(checks, configuration, host, network, relay, files)
	}
	var all []Finding
	for _, c := range checks {
		before := len(all)
		c.run(p, func(s Severity, found, fix string, edits ...edit) {
			all = append(all, Finding{c.name, s, found, fix, edits})
		})
		if len(all) == before {
			all = append(all, Finding{Check: c.name, Severity: Fine})
		}
	}
	return all
}

// Worst is the severity of the worst finding.
func Worst(all []Finding) Severity {
	worst := Fine
	for _, f := range all {
		if f.Severity == Error || f.Severity == Warning && worst == Fine {
			worst = f.Severity
		}
	}
	return worst
}
