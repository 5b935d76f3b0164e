package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// firstAnswer is how long a new child may take until its first good probe before
// it counts as hanging. Builds with a wide relay range and many addresses take
// seconds (3.6 s measured with one), and a port that cannot be bound is coturn's
// own to give up, after 60 s.
const firstAnswer = 75 * time.Second

// Facts are what a node knows of itself. Configure changes them as a whole; Node and
// Mode stay.
type Facts struct {
	Node, Region, Zone string
	Mode               coturn.Mode
	RESTAddr           string // what the record advertises
	RESTScheme         string // http or https
	URIs               []string
	Version            string // of turnwarden
	Coturn             coturn.Version
	RelayPorts         int // how many turnserver.conf gives
	RotateEvery        time.Duration
	ProbeTimeout       time.Duration
	NoSTUN             bool // turnserver.conf has no-stun
	// Running is the release of the child, which is not always the installed one.
	Running func() coturn.Version
	// RelayFree says whether relay ports are free, so that a 508 means that the
	// server cannot open its relay sockets.
	RelayFree func() bool
	// Listeners finds where a running child answers; what the first says decides
	// whether it serves.
	Listeners     func(pid int) []probe.Listener
	LoopbackPeers bool // turnserver.conf has allow-loopback-peers
	Commands      service.Commands
}

// Node joins the parts of one host.
type Node struct {
	known    atomic.Pointer[Facts]
	parts    Parts
	logger   *slog.Logger
	leaving  atomic.Bool // turnwarden is about to stop
	draining atomic.Bool
	emptying atomic.Bool  // its calls are to end in peace
	refusing atomic.Int64 // pid of the child that takes no new call; 0 = none
	stopping atomic.Bool
	present  atomic.Bool // the record may exist: child, probe and credential have been good together
	fresh    fresh
	signer   signer
	history  history
	done     done
	serving  atomic.Bool // as the last verdict of the prober had it
}

// New returns a node without parts. The parts need the node's methods, so
// they are made after it, and Join adds them before any of them runs.
func New(f Facts, logger *slog.Logger) *Node {
	n := &Node{logger: logger}
	n.known.Store(&f)
	return n
}

// Configure has the node know otherwise, and say so.
func (n *Node) Configure(f Facts) {
	n.known.Store(&f)
	n.publish()
}

func (n *Node) facts() *Facts { return n.known.Load() }

// Join adds the parts.
func (n *Node) Join(p Parts) { n.parts = p }

// Credential implements Service.
func (n *Node) Credential(_ context.Context, r service.CredentialRequest) (service.Credential, error) {
	if n.stopping.Load() {
		return service.Credential{}, fmt.Errorf("%w: stopping", service.ErrNoCredential)
	}
	c, ok := n.parts.Credentials.Hand()
	if !ok {
		return service.Credential{}, service.ErrNoCredential
	}
	f := n.facts()
	if f.Mode == coturn.ModeSecret {
		now := time.Now()
		c, err := n.signer.personal(c, r, now)
		if err == nil {
			n.fresh.note(c.Username, c.Generation, now)
			c.URIs = f.URIs
		}
		return c, err
	}
	return service.Credential{Generation: c.Generation, Username: c.Username, Password: c.Password, Expires: c.Expires, URIs: f.URIs}, nil
}

// Status takes the one view of the node that everything is read from.
func (n *Node) Status() service.Status {
	f := n.facts()
	s := service.Status{
		At: time.Now(), Node: f.Node, Region: f.Region, Zone: f.Zone,
		Version: f.Version, Coturn: f.Coturn.String(), Untried: f.Coturn.Untried(), RotateEvery: f.RotateEvery,
		RelayPorts: f.RelayPorts, Commands: f.Commands,
		Child: n.parts.Child.Child(), Probe: n.parts.Prober.Last(), Credential: n.parts.Credentials.Status(),
		Traffic: n.parts.Traffic.Last(), History: n.history.all(), Sessions: n.parts.Log.Sessions(),
		Draining: n.unlisted(), Stopping: n.stopping.Load(), Maintenance: n.parts.Maintenance.Since(),
	}
	if n.parts.Journal != nil {
		s.Journal = n.parts.Journal.Lines()
	}
	if n.parts.Drain != nil {
		s.Drain = n.parts.Drain.Status()
	}
	if n.parts.Sockets != nil {
		s.Sockets = n.parts.Sockets.Last()
	}
	if n.parts.Record != nil {
		r := n.parts.Record.Status()
		s.Registry = &r
	}
	return s
}

// ChildChanged is told every change of the child's state.
func (n *Node) ChildChanged(c supervisor.Child) {
	if c.PID == 0 {
		n.parts.Log.NewRun() // its allocations ended with it
	}
	if pid := n.refusing.Load(); pid != 0 && c.State == supervisor.Running && int64(c.PID) != pid {
		n.refuses(0)
	}
	n.parts.Prober.Kick()
	n.publish()
}

// ProbeChanged is told every new verdict of the prober, and acts on it.
func (n *Node) ProbeChanged() {
	defer n.publish()
	r := n.parts.Prober.Last()
	n.done.probed(r.Answers)
	if r.Serving && !n.serving.Swap(r.Serving) {
		n.parts.Credentials.Kick() // what waited for a server need not wait longer
	}
	n.serving.Store(r.Serving)
	switch {
	case r.OpenRelay:
		n.parts.Child.Halt(service.OpenRelay)
	case r.Foreign != "" || r.PID == 0 || n.leaving.Load() || n.emptying.Load():
		// A restart would not help against a twin, and not while calls are to end.
	case r.Futile && r.Failures > 0:
		// Nor against a certificate, where clients come by TLS alone, or for our own want of a processor.
	case r.Served && !r.Serving, !r.Served && r.Failures > 0 && time.Since(r.Since) > firstAnswer:
		n.parts.Child.Restart(supervisor.ReasonProbe)
	case r.Stage == probe.StageAllocate && r.Failures > 0 && r.Code == 401:
		n.parts.Credentials.Repair()
	}
}

// publish has the registrar look at the record again, and whoever else follows the node.
func (n *Node) publish() {
	if n.parts.Changed != nil {
		n.parts.Changed()
	}
	if n.parts.Record != nil {
		n.parts.Record.Kick()
	}
}

// Publication is what the registrar writes: built at the moment of the write.
func (n *Node) Publication() registry.Publication {
	s, f := n.Status(), n.facts()
	reasons := service.Readiness(s)
	if service.Serves(reasons) {
		n.present.Store(true)
	}
	r := directory.Record{
		RESTAddr: f.RESTAddr, RESTScheme: f.RESTScheme, Node: f.Node, Region: f.Region, Zone: f.Zone,
		URIs: f.URIs, Allocations: s.Sessions.Open, State: service.State(reasons), Generation: s.Credential.Active, Version: f.Version,
		CapacityMbps: s.Traffic.CapacityBytesPerSecond * 8 / 1e6,
		RxMbps:       s.Traffic.RxBytesPerSecond * 8 / 1e6,
		TxMbps:       s.Traffic.TxBytesPerSecond * 8 / 1e6,
	}
	if f.Mode == coturn.ModeSecret {
		r.Mode = string(coturn.ModeSecret)
	}
	if r.State == service.StateUp {
		r.FreeTraffic = s.Traffic.FreeMbps
	}
	// A node whose traffic nobody measures must not look alive for ever.
	return registry.Publication{Present: n.present.Load() && !s.Traffic.Stale(s.At), Record: r}
}

// CredentialChanged is told when another credential is handed out.
func (n *Node) CredentialChanged() {
	n.done.rotated()
	n.publish()
}

// Sampled is told each reading of the NIC.
func (n *Node) Sampled() {
	s := n.parts.Traffic.Last()
	n.history.add(s)
	n.done.measured(s)
	n.publish()
}

// Target tells the prober where the running child answers.
func (n *Node) Target() (probe.Target, bool) {
	c := n.parts.Child.Child()
	if c.State != supervisor.Running {
		return probe.Target{}, false
	}
	f := n.facts()
	listeners := f.Listeners(c.PID)
	for i := range listeners {
		listeners[i].Asked, listeners[i].Refused = n.parts.Log.Asked, n.parts.Log.Refused
	}
	return probe.Target{
		PID: c.PID, Listeners: listeners,
		NoSTUN: f.NoSTUN, LoopbackPeers: f.LoopbackPeers,
		NoTURN: n.refusing.Load() == int64(c.PID),
	}, true
}

// ProbeCredential tells the prober what to log in with.
func (n *Node) ProbeCredential() (username, password string, ok bool) {
	c, ok := n.parts.Credentials.Peek()
	username, password = n.login(c)
	return username, password, ok
}

// login is what a client of the generation logs in with. With a shared secret it is
// made here, for the minute that a proof takes at most.
func (n *Node) login(g credential.Credential) (username, password string) {
	if n.facts().Mode != coturn.ModeSecret {
		return g.Username, g.Password.Reveal()
	}
	now := time.Now()
	username, signed := n.signer.sign(g, now.Add(time.Minute), "turnwarden")
	n.fresh.note(username, g.Generation, now)
	return username, signed.Reveal()
}

// Allocate implements credential.Verifier on the child that runs now. It asks
// only a server that answers the prober, so that a start is not a failed rotation.
func (n *Node) Allocate(ctx context.Context, username, password string) error {
	f := n.facts()
	target, ok := n.Target()
	if last := n.parts.Prober.Last(); !ok || last.PID != target.PID || !last.Served || n.refusing.Load() != 0 {
		return credential.ErrDown
	}
	username, password = n.login(credential.Credential{Username: username, Password: service.Secret(password)})
	ctx, cancel := context.WithTimeout(ctx, f.ProbeTimeout)
	defer cancel()
	_, err := target.Listeners[0].Allocate(ctx, username, password)
	if e, ok := errors.AsType[*probe.Error](err); ok && e.Code == 508 && f.RelayFree() {
		return fmt.Errorf("no relay socket can be opened, though ports are free; check relay-ip: %w", err)
	}
	for _, m := range []struct{ is, as error }{
		{probe.ErrFull, credential.ErrFull}, {probe.ErrRefused, credential.ErrRefused}, {probe.ErrNoAnswer, credential.ErrNoAnswer},
	} {
		if errors.Is(err, m.is) {
			return fmt.Errorf("%w: %w", m.as, err)
		}
	}
	return err
}

// Stop ends the handing out of credentials, for the server they are for is about to end.
func (n *Node) Stop() { n.stopping.Store(true) }
