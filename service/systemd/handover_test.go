package systemd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPending(t *testing.T) {
	for name, c := range map[string]struct {
		unit Unit
		want string
	}{
		"none":               {Unit{Load: "not-found", Active: "inactive"}, ""},
		"running":            {Unit{Load: "loaded", Active: "active", File: "enabled", PID: 7}, "is active with a turnserver of its own (pid 7)"},
		"restarting":         {Unit{Load: "loaded", Active: "activating", File: "disabled"}, "is activating"},
		"down until boot":    {Unit{Load: "loaded", Active: "failed", File: "enabled"}, "is enabled and would start"},
		"disabled":           {Unit{Load: "loaded", Active: "inactive", File: "disabled"}, ""},
		"masked":             {Unit{Load: "masked", Active: "inactive", File: "masked"}, ""},
		"masked and running": {Unit{Load: "masked", Active: "active", File: "masked", PID: 7}, "is active"},
	} {
		t.Run(name, func(t *testing.T) {
			c.unit.Name = Theirs
			got := Pending(c.unit)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got != "" && (!strings.Contains(got, "turnwarden handover") || strings.Contains(got, "\n")) {
				t.Errorf("it does not say in one line what to do: %q", got)
			}
		})
	}
}

func TestParse(t *testing.T) {
	// systemctl show of systemd 252.
	got := parse(Theirs, "MainPID=812\nStatusText=up: a=b\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n")
	want := Unit{Name: Theirs, Load: "loaded", Active: "active", File: "enabled", PID: 812, Status: "up: a=b"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// fake notes what it is told, and fails at one thing. The real systemctl is told the same
// in the test of the packages.
type fake struct {
	unit  Unit
	fails string
	said  []string
}

func (f *fake) Show(context.Context, string) (Unit, error) { return f.unit, nil }

func (f *fake) Do(ctx context.Context, args ...string) error {
	said := strings.Join(args, " ")
	f.said = append(f.said, said)
	if said == f.fails {
		return errors.New("no")
	}
	return ctx.Err()
}

func TestRun(t *testing.T) {
	running := Unit{Name: Theirs, Load: "loaded", Active: "active", File: "enabled", PID: 7}
	disabled := Unit{Name: Theirs, Load: "loaded", Active: "inactive", File: "disabled"}
	masked := Unit{Name: Theirs, Load: "masked", Active: "inactive", File: "masked"}
	absent := Unit{Name: Theirs, Load: "not-found", Active: "inactive"}
	const (
		disable, mask, unmask = "disable --now coturn.service", "mask coturn.service", "unmask coturn.service"
		enable, start, stop   = "enable turnwarden.service", "start turnwarden.service", "stop turnwarden.service"
	)
	for name, c := range map[string]struct {
		unit   Unit
		fails  string
		want   []string
		marked bool
	}{
		"handed over":      {running, "", []string{disable, mask, enable, start}, true},
		"masked before":    {masked, "", []string{disable, enable, start}, false},
		"none":             {absent, "", []string{enable, start}, false},
		"does not serve":   {running, start, []string{disable, mask, enable, start, stop, unmask, "enable coturn.service", "start coturn.service"}, false},
		"cannot be masked": {running, mask, []string{disable, mask, stop, unmask, "enable coturn.service", "start coturn.service"}, false},
		"was down before":  {disabled, start, []string{disable, mask, enable, start, stop, unmask}, false},
		"stays masked":     {masked, start, []string{disable, enable, start, stop}, false},
		"none, and broken": {absent, start, []string{enable, start, stop}, false},
	} {
		t.Run(name, func(t *testing.T) {
			systemd := &fake{unit: c.unit, fails: c.fails}
			marker := filepath.Join(t.TempDir(), "state", "handover")
			h := Handover{Services: systemd, Marker: marker, Report: func(string, string, time.Duration, error) {}}
			if err := h.Run(t.Context()); (err != nil) != (c.fails != "") {
				t.Errorf("error %v", err)
			}
			if !slices.Equal(systemd.said, c.want) {
				t.Errorf("systemd was told\n%q, want\n%q", systemd.said, c.want)
			}
			if _, err := os.Stat(marker); (err == nil) != c.marked {
				t.Errorf("marker: %v, want it there: %v", err, c.marked)
			}
		})
	}
}

// TestInterrupted: who interrupts has coturn.service back.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	systemd := &fake{unit: Unit{Name: Theirs, Load: "loaded", Active: "active", File: "enabled"}}
	h := Handover{Services: systemd, Marker: filepath.Join(t.TempDir(), "handover"), Report: func(step, _ string, _ time.Duration, _ error) {
		if step == "masked" {
			cancel()
		}
	}}
	if err := h.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if last := systemd.said[len(systemd.said)-1]; last != "start coturn.service" {
		t.Errorf("systemd was told %q", systemd.said)
	}
}
