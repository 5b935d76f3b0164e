package directory

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/go-zookeeper/zk"
)

// ErrConflict says that the node is in the hands of another live host.
var ErrConflict = errors.New("name conflict")

// Node is an ephemeral node that is ours or not there: taken over from a session of
// ours that is no more, never fought over. It belongs to one goroutine.
type Node struct {
	session *Session
	path    string
	same    func(theirs, ours []byte) bool

	link    *link // the session in which the rest was seen
	held    bool
	czxid   int64 // tells a node from a later one of the same name, whose versions start anew
	version int32

	claimed bool        // this process has had the node: whoever has it then lives, even under our address
	watched atomic.Bool // one ExistsW is armed; one that never fires cannot be removed (go-zookeeper#140)
}

// Node returns the ephemeral node at path. same tells whether what is stored there
// was written by this very host; it decides only before our first claim and where
// the session ids of before are lost.
func (s *Session) Node(path string, same func(theirs, ours []byte) bool) *Node {
	return &Node{session: s, path: path, same: same}
}

// Held tells whether the node was ours when it was last looked at, in a session that
// has not ended since.
func (n *Node) Held() bool {
	n.session.mu.Lock()
	defer n.session.mu.Unlock()
	return n.held && n.link == n.session.link
}

// Put writes the node, and creates it or takes it over first where that is needed.
// It returns ErrNoSession at once, and ErrConflict as long as another holds the node.
func (n *Node) Put(data []byte) error { return n.ensure(data, true) }

// Keep is Put for a node that is written once: what is there and ours is left as it is.
func (n *Node) Keep(data []byte) error { return n.ensure(data, false) }

func (n *Node) ensure(data []byte, write bool) error {
	l, err := n.session.connected()
	if err != nil {
		return fmt.Errorf("write %s: %w", n.path, err)
	}
	if n.link != l {
		n.link, n.held = l, false
	}
	// Each round follows a change made by somebody else meanwhile; four in a row do not
	// happen to a node that only its hosts write.
	for range 4 {
		var done bool
		switch {
		case n.held && write:
			done, err = n.set(data)
		case n.held:
			done, err = n.check()
		default:
			done, err = n.claim(data)
			write = true // What we held without knowing may have any content.
		}
		if errors.Is(err, zk.ErrNoAuth) {
			err = fmt.Errorf("%w (all hosts need the registry.auth_file that %s was created with)", err, parent(n.path))
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", n.path, err)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("write %s: it changes faster than it can be claimed", n.path)
}

// set writes a node that we hold. Its answer names the owner, so that each write is
// also the proof that the node is still ours.
func (n *Node) set(data []byte) (bool, error) {
	var stat *zk.Stat
	err := n.session.do(n.link, "set", func(c *zk.Conn) (err error) {
		stat, err = c.Set(n.path, data, n.version)
		return err
	})
	switch {
	case err == nil && n.ours(stat):
		n.version = stat.Version
		return true, nil
	case err == nil, errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNoNode):
		n.held = false
		return false, nil
	}
	return false, err
}

// check looks whether a node that we hold is still there and ours.
func (n *Node) check() (bool, error) {
	stat, err := n.exists()
	if err != nil {
		return false, err
	}
	n.held = stat != nil && n.ours(stat)
	return n.held, nil
}

func (n *Node) exists() (stat *zk.Stat, err error) {
	err = n.session.do(n.link, "exists", func(c *zk.Conn) error {
		found, s, err := c.Exists(n.path)
		if found {
			stat = s
		}
		return err
	})
	return stat, err
}

func (n *Node) ours(stat *zk.Stat) bool {
	return stat.EphemeralOwner == n.link.conn.SessionID() && stat.Czxid == n.czxid
}

// claim makes the node ours. Not done without an error means: look again.
func (n *Node) claim(data []byte) (bool, error) {
	create := &zk.CreateRequest{Path: n.path, Data: data, Acl: n.session.acl(), Flags: zk.FlagEphemeral}
	err := n.take("create", create)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, zk.ErrNoNode):
		return false, n.session.makeParent(n.link, parent(n.path))
	case !errors.Is(err, zk.ErrNodeExists):
		return false, err
	}
	var theirs []byte
	var stat *zk.Stat
	err = n.session.do(n.link, "exists", func(c *zk.Conn) (err error) {
		theirs, stat, err = c.Get(n.path)
		return err
	})
	if errors.Is(err, zk.ErrNoNode) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch owner := stat.EphemeralOwner; {
	case owner == n.link.conn.SessionID():
		// A create or a write of ours whose answer was lost.
		n.hold(stat)
		return false, nil
	case owner == 0:
		return n.conflict("a persistent node is in its place: delete it if nothing needs it")
	case n.session.mine.has(owner), !n.claimed && n.same(theirs, data):
		// In one transaction no reader ever misses the node, and the version keeps us from
		// deleting what a live twin has written since.
		err := n.take("create", &zk.DeleteRequest{Path: n.path, Version: stat.Version}, create)
		if errors.Is(err, zk.ErrBadVersion) || errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrNodeExists) {
			return false, nil
		}
		return err == nil, err
	}
	if r, err := Decode(theirs); err == nil {
		return n.conflict(fmt.Sprintf("another live host (restAddr %.64q) has this name: give each host a node name of its own", r.RESTAddr))
	}
	return n.conflict("another live host has this name: give each host a node name of its own")
}

// take runs a transaction that creates the node. The write at its end changes
// nothing: its answer is the Stat that a create alone does not return.
func (n *Node) take(operation string, ops ...any) error {
	create := ops[len(ops)-1].(*zk.CreateRequest)
	ops = append(ops, &zk.SetDataRequest{Path: n.path, Data: create.Data, Version: 0})
	var answers []zk.MultiResponse
	err := n.session.do(n.link, operation, func(c *zk.Conn) (err error) {
		answers, err = c.Multi(ops...)
		return err
	})
	if err == nil {
		n.hold(answers[len(ops)-1].Stat)
	}
	return err
}

func (n *Node) hold(stat *zk.Stat) {
	n.held, n.claimed = true, true
	n.czxid, n.version = stat.Czxid, stat.Version
}

// conflict reports that another holds the node, and sees to it that the session wakes
// its reader when that may have changed.
func (n *Node) conflict(why string) (bool, error) {
	if n.watched.CompareAndSwap(false, true) {
		var found bool
		var fired <-chan zk.Event
		err := n.session.do(n.link, "exists", func(c *zk.Conn) (err error) {
			found, _, fired, err = c.ExistsW(n.path)
			return err
		})
		if err != nil {
			n.watched.Store(false)
			return false, err
		}
		go func() {
			<-fired // It is closed with the link at the latest.
			n.watched.Store(false)
			wake(n.session.changed)
		}()
		if !found {
			return false, nil
		}
	}
	return false, fmt.Errorf("%w: %s", ErrConflict, why)
}

// makeParent creates what is missing above a node, for good: a container would
// vanish with its last child and leave readers deaf. It starts at the bottom, for
// what exists further up need not be ours to create in.
func (s *Session) makeParent(l *link, path string) error {
	create := func(c *zk.Conn) error {
		_, err := c.Create(path, nil, 0, s.acl())
		return err
	}
	err := s.do(l, "create", create)
	if errors.Is(err, zk.ErrNoNode) && path != "/" {
		if err := s.makeParent(l, parent(path)); err != nil {
			return err
		}
		err = s.do(l, "create", create)
	}
	if err != nil && !errors.Is(err, zk.ErrNodeExists) {
		return fmt.Errorf("create %s: %w", path, err)
	}
	return nil
}

// Delete removes the node if this session owns it. Another's stays, and so does what
// an earlier session of ours left: that expires by itself.
func (n *Node) Delete() error {
	l, err := n.session.connected()
	if err != nil {
		return fmt.Errorf("delete %s: %w", n.path, err)
	}
	n.link, n.held = l, false
	stat, err := n.exists()
	if err == nil && stat != nil && stat.EphemeralOwner == l.conn.SessionID() {
		err = n.session.do(l, "delete", func(c *zk.Conn) error { return c.Delete(n.path, stat.Version) })
	}
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return fmt.Errorf("delete %s: %w", n.path, err)
	}
	return nil
}

func parent(path string) string { return path[:max(1, strings.LastIndexByte(path, '/'))] }
