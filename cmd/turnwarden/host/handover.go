package host

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// agreement is what cannot change while the child, the listeners and the record go on.
func (h *Host) agreement(webListen string) map[string]string {
	cfg := h.Config
	return map[string]string{
		"node":                     cfg.Node,
		"coturn.user":              cfg.Coturn.User,
		"coturn.config_file":       cfg.Coturn.ConfigFile,
		cfg.Coturn.ConfigFile:      h.sum,
		"credentials.mode":         cfg.Credentials.Mode,
		"credentials.state_dir":    cfg.Credentials.StateDir,
		"registry.zookeeper":       strings.Join(cfg.Registry.ZooKeeper, ", "),
		"registry.path":            cfg.Registry.Path,
		"registry.prometheus_path": cfg.Registry.PrometheusPath,
		"api.listen":               cfg.API.Listen,
		"admin.socket":             cfg.Admin.Socket,
		"--web.listen-address":     webListen,
	}
}

// Leave stops taking from the child what is not in a handover, until stay is called.
func (h *Host) Leave() (left supervisor.Left, stay func()) {
	if child := h.child.Load(); child != nil {
		return child.Leave()
	}
	return left, func() {}
}

// Save adds to a handover what the next image needs of the host, and returns the files that
// go with it by name. left is the child that the node knows of.
func (h *Host) Save(to *handover.State, left supervisor.Left) map[string]syscall.Conn {
	to.Kept = h.agreed
	files := map[string]syscall.Conn{handover.Lock: h.lock, handover.Web: h.Web, handover.API: h.API.Gate}
	if h.Admin != nil {
		files[handover.Admin] = h.Admin.(syscall.Conn)
	}
	if left.PID != 0 {
		for i, pipe := range left.Output {
			files[handover.Output[i]] = pipe.File
			to.Output = append(to.Output, handover.BegunLine{Text: slices.Clone(pipe.Begun), Skip: pipe.Skip})
		}
	}
	r := h.CLIRuntime()
	to.CLI = handover.CLI{On: r.CLI, Port: r.CLIPort, Password: string(r.CLIPassword), Coturn: r.Version}
	return files
}

// Restore takes over what of the host is not in files, and returns what goes on with the
// child.
func (h *Host) Restore(from *handover.Inherited, command supervisor.Command) supervisor.Starter {
	h.runtime.Store(&coturn.Runtime{Version: from.CLI.Coturn, CLI: from.CLI.On, CLIPort: from.CLI.Port, CLIPassword: coturn.CLIPassword(from.CLI.Password)})
	if l, ok := h.Admin.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(true) // as for one that this image has opened
	}
	left := supervisor.Left{PID: from.Node.Supervisor.Child.PID}
	reap(left.PID)
	for i, name := range handover.Output {
		left.Output[i].File = from.File(name)
		if i < len(from.Output) {
			left.Output[i].Begun, left.Output[i].Skip = from.Output[i].Text, from.Output[i].Skip
		}
	}
	return func(ctx context.Context) (supervisor.Process, error) {
		p, err := command.Adopt(ctx, left)
		if err != nil {
			return nil, err
		}
		h.child.Store(p)
		return p, nil
	}
}

// reap waits for every child of the image before but turnserver: the program that kept
// the userdb open, whose input the exec has closed, and what was under way, such as a look
// at turnserver's version. None is ours by now but these.
func reap(turnserver int) {
	procs, err := procfs.AllProcs()
	if err != nil {
		return // nothing is lost but a line in the list of processes
	}
	for _, p := range procs {
		if s, err := p.Stat(); err == nil && s.PPID == os.Getpid() && p.PID != turnserver {
			go func() { _, _ = unix.Wait4(p.PID, nil, 0, nil) }()
		}
	}
}
