package node

import (
	"errors"
)

// Unlist has the record and /-/ready say that no new call should come here, for good.
func (n *Node) Unlist() {
	n.leaving.Store(true)
	n.publish()
}

// unlisted says whether an operator or our own end keeps new calls away.
func (n *Node) unlisted() bool { return n.leaving.Load() || n.draining.Load() }

// drained has new calls kept away for a drain, or ends that.
func (n *Node) drained(draining bool) {
	n.draining.Store(draining)
	n.emptying.Store(draining)
	n.publish()
}

// refuses says which child takes no new call; pid 0 for none. It is asked for no
// allocation then: what it refuses proves nothing, and coturn 4.7 counts each as one
// more call for a minute. And no successor of the credential is made that it would have
// to prove.
func (n *Node) refuses(pid int) {
	n.refusing.Store(int64(pid))
	n.parts.Credentials.Hold(pid != 0)
}

// errRefusing says why no credential can be proved.
var errRefusing = errors.New("turnserver drains and takes no new call, so that no new credential can be proved; turnwarden resume and turnwarden restart lead to one that does")
