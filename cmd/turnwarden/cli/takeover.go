package cli

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

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/systemd"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// handoverMarker is looked for by the package's scripts, too.
const handoverMarker = "/var/lib/turnwarden/handover"

// Handover puts turnwarden in the place of the distribution's coturn.
func Handover(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "handover", "Stop, disable and mask the distribution's coturn.service, which ends its calls, and start turnwarden.service in its place; if that does not serve, coturn.service is started again.",
		"turnwarden handover", "turnwarden handover --check", "turnwarden handover --yes")
	var t takeover
	c.Flag("config.file", "Configuration file.").Default("/etc/turnwarden/turnwarden.yml").StringVar(&t.config)
	c.Flag("yes", "Do not ask.").BoolVar(&t.yes)
	c.Flag("check", "Change nothing: say in a line why turnwarden.service waits, exit code 1, or that nothing is in its way.").BoolVar(&t.check)
	return c.FullCommand(), t.run
}

// takeover is what the command line says.
type takeover struct {
	config     string
	yes, check bool
}

// run asks before it ends anything.
func (t *takeover) run(ctx context.Context, in io.Reader, out io.Writer) error {
	services := systemd.Systemctl{}
	theirs, err := services.Show(ctx, systemd.Theirs)
	if err != nil {
		return err
	}
	if t.check {
		if why := systemd.Pending(theirs); why != "" {
			return errors.New(why)
		}
		fmt.Fprintf(out, "%s is not in the way\n", systemd.Theirs)
		return nil
	}
	if os.Geteuid() != 0 {
		return service.Refuse(fmt.Errorf("handover: found uid %d; accepted: root, who may stop and start services", os.Geteuid()))
	}
	ours, err := services.Show(ctx, systemd.Ours)
	switch {
	case err != nil:
		return err
	case !ours.Exists():
		return service.Refuse(fmt.Errorf("handover: %s is not installed: install the package of turnwarden, or deploy/package/%[1]s of its source", systemd.Ours))
	case ours.Running() && systemd.Pending(theirs) == "":
		fmt.Fprintf(out, "%s has the ports: %s\n", systemd.Ours, ours.Status)
		return nil
	}
	if err := t.announce(theirs, out); err != nil {
		return err
	}
	if !t.yes && !slices.Contains([]string{"y", "yes"}, strings.ToLower(answer(ctx, in, out, "Go on? [y/N] "))) {
		return errors.New("handover: nothing was changed; --yes goes on without a question")
	}
	return replaceTheirs(ctx, services, out)
}

// announce says what is about to end. What turnwarden would refuse to start with ends
// nothing.
func (t *takeover) announce(theirs systemd.Unit, out io.Writer) error {
	conf, err := readFiles(t.config)
	if err != nil {
		return service.Refuse(err)
	}
	switch {
	case theirs.PID != 0:
		ports := "an unknown number of"
		if n, err := supervisor.RelaySockets(theirs.PID, uint16(conf.MinPort), uint16(conf.MaxPort), uint16(conf.ListeningPort), uint16(conf.TLSListeningPort)); err == nil {
			ports = fmt.Sprint(n)
		}
		fmt.Fprintf(out, "%s runs turnserver %d with %s relay ports open. It is stopped, disabled and masked: its calls end now.\n", theirs.Name, theirs.PID, ports)
	case theirs.Exists():
		fmt.Fprintf(out, "%s does not run; it is disabled and masked.\n", theirs.Name)
	default:
		fmt.Fprintf(out, "There is no %s.\n", theirs.Name)
	}
	fmt.Fprintf(out, "Then %s starts, with %s and %s.\n", systemd.Ours, t.config, conf.Path)
	return nil
}

func replaceTheirs(ctx context.Context, services systemd.Systemctl, out io.Writer) error {
	p := newPrinter(out)
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
	fmt.Fprintf(out, "The way back: systemctl disable --now %s && systemctl unmask %s && systemctl enable --now %[2]s\n", systemd.Ours, systemd.Theirs)
	return nil
}
