package service

import "errors"

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
	n.publish()
}

// spare has nobody ask the child for an allocation but its clients, so that only their
// calls are counted; pid 0 ends that. One that refuses every Allocate proves nothing,
// and coturn 4.7 counts each as one more call for a minute: no successor of the
// credential is made then.
func (n *Node) spare(pid int, refusing bool) {
	n.spared.Store(int64(pid))
	n.refusing.Store(refusing)
	n.parts.Credentials.Hold(refusing)
}

// errRefusing says why no credential can be proved.
var errRefusing = errors.New("turnserver drains and takes no new call, so that no new credential can be proved; turnwarden resume and turnwarden restart lead to one that does")
