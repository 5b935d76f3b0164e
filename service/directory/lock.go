package directory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/go-zookeeper/zk"
)

// Lock is a lock that so many nodes of a fleet may hold at once, and a queue for the
// others. A place is an ephemeral sequential node: a holder who dies frees it with its
// session. Nothing is watched, for a watch that never fires cannot be taken back
// (go-zookeeper#140): who waits asks again. It belongs to one goroutine.
type Lock struct {
	session *Session
	path    string // parent of the places
	node    string // ours
	holders atomic.Int64
}

// Lock returns the lock at path as seen by the node.
func (s *Session) Lock(path, node string, holders int) *Lock {
	k := &Lock{session: s, path: path, node: node}
	k.SetHolders(holders)
	return k
}

// SetHolders changes how many nodes this one thinks may hold the lock at once.
func (k *Lock) SetHolders(n int) { k.holders.Store(int64(n)) }

// Try takes a place, or keeps the one we have: it is lost with its session, and the
// next one is at the end of the queue. Where it is not our turn it returns the nodes
// that have theirs.
func (k *Lock) Try() (before []string, err error) {
	l, err := k.session.connected()
	if err != nil {
		return nil, fmt.Errorf("queue at %s: %w", k.path, err)
	}
	// Once without a place, once with it.
	for range 2 {
		places, mine, err := k.look(l)
		if err != nil {
			return nil, fmt.Errorf("queue at %s: %w", k.path, err)
		}
		if len(mine) > 0 {
			return k.ahead(places, mine[0]), nil
		}
		if err := k.enter(l); err != nil {
			return nil, fmt.Errorf("queue at %s: %w", k.path, err)
		}
	}
	return nil, fmt.Errorf("queue at %s: our place vanished as soon as it was made", k.path)
}

// Release gives the place back.
func (k *Lock) Release() error {
	l, err := k.session.connected()
	var mine []place
	if err == nil {
		_, mine, err = k.look(l)
	}
	for _, p := range mine {
		gone := k.session.do(l, "delete", func(c *zk.Conn) error { return c.Delete(k.path+"/"+p.name, -1) })
		if gone != nil && !errors.Is(gone, zk.ErrNoNode) {
			err = gone
		}
	}
	if err != nil {
		return fmt.Errorf("leave the queue at %s: %w", k.path, err)
	}
	return nil
}

// place is one in the queue.
type place struct {
	name, node string
	number     int
}

// parsePlace reads the name of a place: the node's, and the number that ZooKeeper
// has added.
func parsePlace(name string) (place, bool) {
	const digits = 10
	i := len(name) - digits
	if i < 2 || name[i-1] != '-' {
		return place{}, false
	}
	n, err := strconv.Atoi(name[i:])
	return place{name: name, node: name[:i-1], number: n}, err == nil && NodeName(name[:i-1])
}

// look returns the queue in its order, and which places this very session has. An
// answer that was lost can have left more than one; one of an earlier session of
// ours is about to expire.
func (k *Lock) look(l *link) (places, mine []place, err error) {
	var names []string
	err = k.session.do(l, "exists", func(c *zk.Conn) (err error) {
		names, _, err = c.Children(k.path)
		return err
	})
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return nil, nil, err
	}
	for _, name := range names {
		if p, ok := parsePlace(name); ok {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.number, b.number) })
	for _, p := range places {
		if p.node != k.node {
			continue
		}
		var stat *zk.Stat
		var found bool
		err := k.session.do(l, "exists", func(c *zk.Conn) (err error) {
			found, stat, err = c.Exists(k.path + "/" + p.name)
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		if found && stat.EphemeralOwner == l.conn.SessionID() {
			mine = append(mine, p)
		}
	}
	return places, mine, nil
}

// enter makes a place at the end of the queue.
func (k *Lock) enter(l *link) error {
	create := func(c *zk.Conn) error {
		_, err := c.Create(k.path+"/"+k.node+"-", nil, zk.FlagEphemeral|zk.FlagSequence, k.session.acl())
		return err
	}
	err := k.session.do(l, "create", create)
	if errors.Is(err, zk.ErrNoNode) {
		if err := k.session.makeParent(l, k.path); err != nil {
			return err
		}
		err = k.session.do(l, "create", create)
	}
	if errors.Is(err, zk.ErrNoAuth) {
		err = fmt.Errorf("%w (all hosts need the registry.auth_file that %s was created with)", err, k.path)
	}
	return err
}

// ahead returns the other nodes that hold the lock, none if it is ours, too.
func (k *Lock) ahead(places []place, mine place) []string {
	var nodes []string
	for _, p := range places {
		if p.number < mine.number && p.node != k.node && !slices.Contains(nodes, p.node) {
			nodes = append(nodes, p.node)
		}
	}
	holders := int(k.holders.Load())
	if len(nodes) < holders {
		return nil
	}
	return nodes[:holders]
}
