package service

import (
	"fmt"
	"time"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// The states of a record, as directory has them.
const (
	StateUp            = directory.StateUp
	StateWarming       = directory.StateWarming
	StateFull          = directory.StateFull
	StateDown          = directory.StateDown
	StateDraining      = directory.StateDraining
	StateMaintenance   = directory.StateMaintenance
	StateForeignServer = directory.StateForeignServer
)

// A Reason is one thing that keeps a node from being listed.
type Reason struct {
	State   string // what the record says if this is the first reason
	Ready   bool   // the node serves all the same: /-/ready stays 200
	Planned bool   // an operator wants it so
	Text    string
}

// Readiness is the one rule that lists or unlists a node. It returns every
// reason against listing, the weightiest first; a node without any is up.
func Readiness(s Status) []Reason {
	var reasons []Reason
	add := func(state, format string, args ...any) {
		reasons = append(reasons, Reason{State: state, Text: fmt.Sprintf(format, args...)})
	}
	plan := func(state, text string) {
		reasons = append(reasons, Reason{State: state, Planned: true, Text: text})
	}
	switch {
	case s.Stopping:
		plan(StateDraining, "stopping")
	case s.Draining:
		plan(StateDraining, s.Drain.text(s.Commands))
	}
	if !s.Maintenance.IsZero() {
		plan(StateMaintenance, "maintenance: since "+s.Maintenance.Format(time.RFC3339)+", until "+s.Commands.MaintenanceOff)
	}
	if s.Probe.Foreign != "" {
		add(StateForeignServer, "foreign_server: %s", s.Probe.Foreign)
	}
	switch c := s.Child; {
	case c.HaltCause == CauseDrain:
		add(StateDown, "child: ended with the drain")
	case c.HaltCause != "":
		add(StateDown, "%s: the TURN server was killed and stays down until its configuration changes and turnwarden is restarted", c.HaltCause)
	case c.StartError != "":
		add(StateDown, "child: not started: %s", c.StartError)
	case c.State == supervisor.Stopping:
		add(StateDown, "child: stopping, reason %s", c.StopReason)
	case c.State != supervisor.Running && !c.LastExit.At.IsZero():
		add(StateDown, "child: %s after %s", c.State, c.LastExit)
	case c.State != supervisor.Running:
		add(StateDown, "child: %s", c.State)
	case s.Probe.PID != c.PID || !s.Probe.Served && s.Probe.Failures == 0:
		add(StateDown, "probe: the TURN server has not answered yet")
	case !s.Probe.Served:
		add(StateDown, "probe: the TURN server has not served yet: %s", s.Probe.Err)
	case !s.Probe.Serving:
		add(StateDown, "probe: not serving: %s", s.Probe.Err)
	}
	if s.Credential.Active == 0 {
		text := "credential: none that is verified and valid"
		if s.Credential.Failure != "" {
			text += ": " + s.Credential.Failure
		}
		add(StateDown, "%s", text)
	}
	if s.Probe.Full {
		reasons = append(reasons, Reason{State: StateFull, Ready: true, Text: fmt.Sprintf("full: the TURN server answers %d to an Allocate", s.Probe.FullCode)})
	}
	if !s.Traffic.Ready {
		reasons = append(reasons, Reason{State: StateWarming, Ready: true, Text: "traffic: not measured yet"})
	}
	if s.Traffic.Stale(s.At) {
		text := "traffic: no sample for three intervals"
		if s.Traffic.Err != "" {
			text += ": " + s.Traffic.Err
		}
		reasons = append(reasons, Reason{State: StateWarming, Ready: true, Text: text})
	}
	return reasons
}

// State returns what the record says.
func State(reasons []Reason) string {
	if len(reasons) == 0 {
		return StateUp
	}
	return reasons[0].State
}

// Serves says whether the node would serve whoever came: child, probe and credential
// are good. Whether an operator wants it to is another matter.
func Serves(reasons []Reason) bool {
	for _, r := range reasons {
		if !r.Ready && !r.Planned {
			return false
		}
	}
	return true
}

// Ready says whether the node serves and nobody wants it not to. Where it is
// registered is another matter.
func Ready(reasons []Reason) bool {
	for _, r := range reasons {
		if !r.Ready {
			return false
		}
	}
	return true
}
