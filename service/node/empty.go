package node

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// Unlist has the record and /-/ready say that no new call should come here, for good.
func (n *Node) Unlist() {
	n.leaving.Store(true)
	n.publish()
}

// unlisted says whether an operator or our own end keeps new calls away.
func (n *Node) unlisted() bool { return n.leaving.Load() || n.draining.Load() }

// Away has new calls kept away for a drain, during which a child that dies is not started
// again, or ends that.
func (n *Node) Away(away bool) {
	if !away {
		n.parts.Child.Recall()
		n.refuses(0)
	}
	n.draining.Store(away)
	n.emptying.Store(away)
	n.publish()
	if away {
		n.parts.Child.Retire(service.CauseDrain)
	}
}

// Calls counts the calls by what can be asked, and those that may be a probe of our own.
func (n *Node) Calls(hurry <-chan struct{}) (open, young int) {
	if n.parts.Census != nil {
		open = n.parts.Census.Now(hurry)
	}
	return open, n.parts.Log.Sessions().Young
}

// RefuseCalls has the child take no new call, if its release can be told.
func (n *Node) RefuseCalls() (pid int, s service.Step) {
	if v := n.facts().Running(); !v.CanDrain() {
		return 0, service.Step{Name: "refuse", Detail: fmt.Sprintf("coturn %v cannot refuse new calls; none is sent here", v)}
	}
	pid = n.parts.Child.Child().PID
	n.refuses(pid) // before any probe could be refused
	if err := n.parts.Child.Signal(syscall.SIGUSR1); err != nil {
		n.refuses(0)
		return 0, service.Step{Name: "refuse", Detail: "nobody asks for a call", Err: err}
	}
	return pid, service.Step{Name: "refuse", Detail: "turnserver answers 403 to new calls"}
}

// EndChild has the child end, and stay down.
func (n *Node) EndChild() { n.parts.Child.Stop(service.CauseDrain) }

// RenewChild has the child started anew; one that does not serve is replaced as ever.
func (n *Node) RenewChild() {
	n.emptying.Store(false)
	n.parts.Child.Restart(supervisor.ReasonRequested)
}

// refuses says which child takes no new call; pid 0 for none. It is asked for no
// allocation then: what it refuses proves nothing, and coturn 4.7 counts each as one
// more call for a minute. And no successor of the credential is made that it would have
// to prove.
func (n *Node) refuses(pid int) {
	n.refusing.Store(int64(pid))
	n.parts.Credentials.Hold(pid != 0)
}

var errRefusing = errors.New("turnserver drains and takes no new call, so that no new credential can be proved")

// whileRefusing is why no credential can be proved while the child takes no call; nil
// while it does.
func (n *Node) whileRefusing() error {
	if n.refusing.Load() == 0 {
		return nil
	}
	c := n.facts().Commands
	return fmt.Errorf("%w; %s and %s lead to one that does", errRefusing, c.Resume, c.Restart)
}
