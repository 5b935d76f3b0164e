package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/systemd"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// handoverMarker is looked for by the package's scripts, too.
const handoverMarker = "/var/lib/turnwarden/handover"

func handoverCommand(app *kingpin.Application, f *flags) *kingpin.CmdClause {
	c := app.Command("handover", "Stop, disable and mask the distribution's coturn.service, which ends its calls, and start turnwarden.service in its place; if that does not serve, coturn.service is started again.")
	c.Flag("config.file", "Configuration file.").Default("/etc/turnwarden/turnwarden.yml").StringVar(&f.configFile)
	c.Flag("yes", "Do not ask.").BoolVar(&f.yes)
	c.Flag("check", "Change nothing: say in a line why turnwarden.service waits, exit code 1, or that nothing is in its way.").BoolVar(&f.check)
	return c
}

// handOver asks before it ends anything.
func handOver(f flags, stdin io.Reader, stdout io.Writer, s *signals) error {
	ctx, stop := s.interrupt()
	defer stop()
	services := systemd.Systemctl{}
	theirs, err := services.Show(ctx, systemd.Theirs)
	if err != nil {
		return err
	}
	if f.check {
		if why := systemd.Pending(theirs); why != "" {
			return errors.New(why)
		}
		fmt.Fprintf(stdout, "%s is not in the way\n", systemd.Theirs)
		return nil
	}
	if os.Geteuid() != 0 {
		return refuse(fmt.Errorf("handover: found uid %d; accepted: root, who may stop and start services", os.Geteuid()))
	}
	ours, err := services.Show(ctx, systemd.Ours)
	switch {
	case err != nil:
		return err
	case !ours.Exists():
		return refuse(fmt.Errorf("handover: %s is not installed: install the package of turnwarden, or deploy/package/%[1]s of its source", systemd.Ours))
	case ours.Running() && systemd.Pending(theirs) == "":
		fmt.Fprintf(stdout, "%s has the ports: %s\n", systemd.Ours, ours.Status)
		return nil
	}
	if err := f.announce(theirs, stdout); err != nil {
		return err
	}
	if !f.yes && !slices.Contains([]string{"y", "yes"}, strings.ToLower(answer(ctx, stdin, stdout, "Go on? [y/N] "))) {
		return errors.New("handover: nothing was changed; --yes goes on without a question")
	}
	return f.replace(ctx, services, stdout)
}

// announce says what is about to end. What turnwarden would refuse to start with ends
// nothing.
func (f *flags) announce(theirs systemd.Unit, stdout io.Writer) error {
	conf, err := readFiles(f.configFile)
	if err != nil {
		return refuse(err)
	}
	switch {
	case theirs.PID != 0:
		ports := "an unknown number of"
		if n, err := supervisor.RelaySockets(theirs.PID, uint16(conf.MinPort), uint16(conf.MaxPort), uint16(conf.ListeningPort), uint16(conf.TLSListeningPort)); err == nil {
			ports = fmt.Sprint(n)
		}
		fmt.Fprintf(stdout, "%s runs turnserver %d with %s relay ports open. It is stopped, disabled and masked: its calls end now.\n", theirs.Name, theirs.PID, ports)
	case theirs.Exists():
		fmt.Fprintf(stdout, "%s does not run; it is disabled and masked.\n", theirs.Name)
	default:
		fmt.Fprintf(stdout, "There is no %s.\n", theirs.Name)
	}
	fmt.Fprintf(stdout, "Then %s starts, with %s and %s.\n", systemd.Ours, f.configFile, conf.Path)
	return nil
}

func (f *flags) replace(ctx context.Context, services systemd.Systemctl, stdout io.Writer) error {
	p := newPrinter(stdout)
	h := systemd.Handover{Services: services, Marker: handoverMarker, Report: func(step, detail string, took time.Duration, err error) {
		s := admin.Step{Step: step, Detail: detail, Seconds: took.Seconds()}
		if err != nil {
			s.Error = err.Error()
		}
		p.print(s)
	}}
	if err := h.Run(ctx); err != nil {
		return fmt.Errorf("handover: %w; the reason is in: journalctl -u %s", err, systemd.Ours)
	}
	fmt.Fprintf(stdout, "The way back: systemctl disable --now %s && systemctl unmask %s && systemctl enable --now %[2]s\n", systemd.Ours, systemd.Theirs)
	return nil
}
