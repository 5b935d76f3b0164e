package host

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// Starter returns what starts one run of turnserver: it looks that nobody else has
// the port, renders the configuration with a CLI port and password of this run's
// own, proves that the child will be able to read it, and starts it.
func (c *Current) Starter(log *calls.Log, hurry <-chan struct{}, thread *supervisor.Thread) supervisor.Starter {
	return func(ctx context.Context) (supervisor.Process, error) {
		s, err := c.starting()
		if err != nil {
			return nil, err
		}
		if err := CheckPorts(s.Conf, 0); err != nil {
			return nil, err
		}
		port, err := freeLoopbackPort(ctx)
		if err != nil {
			return nil, err
		}
		runtime := coturn.Runtime{Version: s.Version, CLI: s.Config.Coturn.CLI, CLIPort: port, CLIPassword: coturn.CLIPassword(rand.Text())}
		s.runtime.Store(&runtime)
		rendered := Rendered(s.Config)
		if err := s.writeRendered(rendered, s.Conf.Render(runtime)); err != nil {
			return nil, err
		}
		if err := coturn.CheckReadable(ctx, rendered, s.as); err != nil {
			return nil, err
		}
		p, err := s.Command(log, hurry, thread).Start(ctx)
		if err != nil {
			return nil, err
		}
		s.child.Store(p)
		return p, nil
	}
}

// Command is how turnserver is run.
func (h *Host) Command(log *calls.Log, hurry <-chan struct{}, thread *supervisor.Thread) supervisor.Command {
	command := supervisor.Command{
		Path: h.turnserver, Args: coturn.Args(Rendered(h.Config)), Dir: "/",
		// A clean environment: above all no NOTIFY_SOCKET, for coturn would speak to
		// systemd in our name.
		Env:         []string{"PATH=" + os.Getenv("PATH")},
		Credential:  h.as,
		StopTimeout: h.Config.Coturn.StopTimeout, Hurry: hurry,
		Stdout: coturn.Once(h.Running(), log.Stdout), Stderr: log.Stderr, Thread: thread,
	}
	if h.as != nil && slices.ContainsFunc(listening(h.Conf), func(a netip.AddrPort) bool { return a.Port() < 1024 }) {
		command.AmbientCaps = []uintptr{unix.CAP_NET_BIND_SERVICE}
	}
	return command
}

// writeRendered replaces the rendered file: 0600, owned by the child's uid before
// its name appears, because it holds the CLI password.
func (h *Host) writeRendered(path string, data []byte) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err == nil {
		defer func() { _ = f.Cleanup() }() // nothing is left there once it is renamed
		if h.as != nil {
			err = f.Chown(int(h.as.Uid), int(h.as.Gid))
		}
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("render turnserver.conf: %w", err)
	}
	return nil
}

func freeLoopbackPort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a port for coturn's CLI: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// listeners are where a running child is probed, the one that most clients use
// first: on the first address its configuration names, else on one that it has really
// bound, that of the default route if it can be: others, such as a tunnel's, may vanish
// and leave the clients where they are.
func (h *Host) listeners(pid int) []probe.Listener {
	var udp, tcp []netip.AddrPort
	if len(h.Conf.ListeningIPs) == 0 {
		// What cannot be read cannot be probed, and is reported as a port not open.
		udp, tcp, _ = supervisor.Listeners(pid, uint16(h.Conf.ListeningPort), uint16(h.Conf.TLSListeningPort))
	}
	at := func(bound []netip.AddrPort, port int) netip.AddrPort {
		if len(h.Conf.ListeningIPs) > 0 {
			return netip.AddrPortFrom(h.Conf.ListeningIPs[0], uint16(port))
		}
		found := netip.AddrPortFrom(netip.Addr{}, uint16(port))
		for _, a := range bound {
			if a.Port() == found.Port() && (!found.Addr().IsValid() || a.Addr() == h.outside) {
				found = a
			}
		}
		return found
	}
	var all []probe.Listener
	if h.Conf.UDP {
		all = append(all, probe.Listener{Transport: probe.UDP, Addr: at(udp, h.Conf.ListeningPort)})
	}
	if h.Conf.TCP {
		all = append(all, probe.Listener{Transport: probe.TCP, Addr: at(tcp, h.Conf.ListeningPort)})
	}
	if h.Conf.TLS && !h.Conf.ClientCertificates {
		all = append(all, probe.Listener{Transport: probe.TLS, Addr: at(tcp, h.Conf.TLSListeningPort)})
	}
	return all
}

// CLIRuntime is where the CLI of the running child is; zero before the first start.
func (h *Host) CLIRuntime() coturn.Runtime {
	if r := h.runtime.Load(); r != nil {
		return *r
	}
	return coturn.Runtime{}
}

// RelayFree says whether a good part of the relay range is free. A server that
// answers 508 all the same is not full: it cannot open its sockets, as with a
// relay-ip that is not this host's.
func (h *Host) RelayFree() bool {
	size := h.Conf.MaxPort - h.Conf.MinPort + 1
	used, err := supervisor.UDPSockets(uint16(h.Conf.MinPort), uint16(h.Conf.MaxPort))
	return err == nil && size-used > size/10 && size-used > 4
}

// relayPorts is how many ports there are to relay on: the range, on each address.
func (h *Host) relayPorts() int {
	return (h.Conf.MaxPort - h.Conf.MinPort + 1) * max(1, len(h.Conf.RelayIPs))
}

// RelaySockets counts those that the child has taken.
func (h *Host) RelaySockets(pid int) (int, error) {
	return supervisor.RelaySockets(pid, uint16(h.Conf.MinPort), uint16(h.Conf.MaxPort), uint16(h.Conf.ListeningPort), uint16(h.Conf.TLSListeningPort))
}
