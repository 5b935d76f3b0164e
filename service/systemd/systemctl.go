package systemd

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Unit is what systemd knows of a service.
type Unit struct {
	Name   string
	Load   string // loaded, masked, not-found…
	Active string // active, activating, inactive, failed…
	File   string // enabled, disabled, masked…; empty where there is none
	PID    int    // of its main process; 0 = none
	Status string // what it says of itself
}

// Exists says whether it is installed.
func (u Unit) Exists() bool { return u.Load != "" && u.Load != "not-found" }

// Running says whether it runs, or is about to.
func (u Unit) Running() bool {
	return u.Active != "" && u.Active != "inactive" && u.Active != "failed"
}

// Enabled says whether the next boot starts it.
func (u Unit) Enabled() bool { return u.File == "enabled" || u.File == "enabled-runtime" }

// Systemctl asks the systemd of this host.
type Systemctl struct{}

// Show returns what systemd knows of a unit, which may be that there is none.
func (Systemctl) Show(ctx context.Context, name string) (Unit, error) {
	out, err := systemctl(ctx, "show", "--property=LoadState,ActiveState,UnitFileState,MainPID,StatusText", name)
	return parse(name, out), err
}

// Do runs another command of systemctl.
func (Systemctl) Do(ctx context.Context, args ...string) error {
	_, err := systemctl(ctx, args...)
	return err
}

func systemctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "systemctl", args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.Join(strings.Fields(said.String()), " "))
	}
	return string(out), nil
}

// parse reads the lines KEY=VALUE of systemctl show.
func parse(name, out string) Unit {
	u := Unit{Name: name}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch key {
		case "LoadState":
			u.Load = value
		case "ActiveState":
			u.Active = value
		case "UnitFileState":
			u.File = value
		case "MainPID":
			u.PID, _ = strconv.Atoi(value) // 0 without one
		case "StatusText":
			u.Status = value
		}
	}
	return u
}
