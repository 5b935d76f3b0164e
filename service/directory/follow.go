package directory

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-zookeeper/zk"
)

const (
	readers     = 16     // reads under way at once: as many as the library queues
	maxChildren = 20_000 // of one path; whoever can write there could fill our memory
	maxData     = 32 << 10
)

// Change is news of one child.
type Change struct {
	Name  string
	Gone  bool
	Data  []byte // its begin, where it is longer than any record
	Czxid int64  // another number means another registration under the same name
	Mzxid int64  // another number means another write
}

// Follower reads the children of a path and keeps up with them. A watch is armed once
// and again only after it has fired, for one that never fires cannot be removed
// (go-zookeeper#140). It belongs to one goroutine, which Changed wakes.
type Follower struct {
	session *Session
	path    string

	link   *link               // the session in which the rest is true
	armed  bool                // there is a watch on the list
	relist bool                // the list is to be read
	known  map[string]struct{} // those that were last told to be there
	unread map[string]struct{}
	left   Left

	mu    sync.Mutex
	fired map[string]struct{} // paths
}

// Follow returns the follower of a path. A session has at most one, before it runs.
func (s *Session) Follow(path string) *Follower {
	s.follower = &Follower{
		session: s, path: path,
		known: make(map[string]struct{}), unread: make(map[string]struct{}), fired: make(map[string]struct{}),
	}
	return s.follower
}

// Left are the children of the last list that are not read.
type Left struct {
	Invalid int // no node bears such a name
	TooMany int
}

// Left returns how many children are not read.
func (f *Follower) Left() Left { return f.left }

// stir notes that a watch has fired.
func (f *Follower) stir(path string) bool {
	if path != f.path && !strings.HasPrefix(path, f.path+"/") {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fired[path] = struct{}{}
	return true
}

// Again has the next Read look at a child whether or not its watch has fired.
func (f *Follower) Again(name string) { f.unread[name] = struct{}{} }

// Relist has the next Read look who is there whether or not the watch has fired.
func (f *Follower) Relist() { f.relist = true }

// Read returns what has changed since the last call, and in a new session everything.
// What it returns is true even if there is an error; the rest comes with a later call.
func (f *Follower) Read() ([]Change, error) {
	l, err := f.session.connected()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	if f.link != l {
		f.link, f.armed, f.relist = l, false, true
		maps.Copy(f.unread, f.known)
	}
	f.mu.Lock()
	fired := f.fired
	f.fired = make(map[string]struct{})
	f.mu.Unlock()
	for path := range fired {
		if path == f.path {
			f.armed, f.relist = false, true
		} else {
			f.unread[path[len(f.path)+1:]] = struct{}{}
		}
	}
	var changes []Change
	if f.relist {
		names, err := f.list()
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", f.path, err)
		}
		f.relist = false
		changes = f.compare(f.choose(names))
	}
	read, err := f.read()
	if err != nil {
		err = fmt.Errorf("read %s: %w", f.path, err)
	}
	return append(changes, read...), err
}

// list reads who is there. A parent that is not there has no children, yet.
func (f *Follower) list() (names []string, err error) {
	for range 4 {
		err = f.session.do(f.link, "children", func(c *zk.Conn) (err error) {
			if f.armed {
				names, _, err = c.Children(f.path)
			} else {
				names, _, _, err = c.ChildrenW(f.path)
			}
			return err
		})
		if !errors.Is(err, zk.ErrNoNode) {
			f.armed = f.armed || err == nil
			return names, err
		}
		var found bool
		err = f.session.do(f.link, "exists", func(c *zk.Conn) (err error) {
			found, _, _, err = c.ExistsW(f.path)
			return err
		})
		if err != nil || !found {
			f.armed = f.armed || err == nil
			return nil, err
		}
	}
	return nil, errors.New("it comes and goes")
}

// choose leaves out what is no name of a node, and then what is too many: those that
// are known stay, so that whoever can write to the path pushes nobody out.
func (f *Follower) choose(names []string) []string {
	all := len(names)
	names = slices.DeleteFunc(names, func(name string) bool { return !NodeName(name) })
	f.left = Left{Invalid: all - len(names), TooMany: max(0, len(names)-maxChildren)}
	if f.left.TooMany > 0 {
		rank := func(name string) int {
			if _, known := f.known[name]; known {
				return 0
			}
			return 1
		}
		slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
		names = names[:maxChildren]
	}
	return names
}

// compare finds who is new and who is gone.
func (f *Follower) compare(names []string) (gone []Change) {
	present := make(map[string]struct{}, len(names))
	for _, name := range names {
		present[name] = struct{}{}
		if _, ok := f.known[name]; !ok {
			f.unread[name] = struct{}{}
		}
	}
	for name := range f.known {
		if _, ok := present[name]; !ok {
			gone = append(gone, f.gone(name))
		}
	}
	return gone
}

func (f *Follower) gone(name string) Change {
	delete(f.known, name)
	delete(f.unread, name)
	return Change{Name: name, Gone: true}
}

// read reads the children that are to be read, several at a time: where ZooKeeper is
// milliseconds away, one after another would never keep up with a large fleet.
func (f *Follower) read() (changes []Change, failure error) {
	names := slices.Collect(maps.Keys(f.unread))
	type answer struct {
		change Change
		err    error
	}
	answers := make([]answer, len(names))
	var next atomic.Int64
	var lost atomic.Bool
	var all sync.WaitGroup
	for range min(readers, len(names)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(names) && !lost.Load(); i = int(next.Add(1)) - 1 {
				a := &answers[i]
				a.change, a.err = f.get(names[i])
				if a.err != nil && !errors.Is(a.err, zk.ErrNoNode) && !errors.Is(a.err, zk.ErrNoAuth) {
					lost.Store(true)
				}
			}
		})
	}
	all.Wait()
	for i, a := range answers {
		name := names[i]
		_, known := f.known[name]
		switch {
		case errors.Is(a.err, zk.ErrNoNode), errors.Is(a.err, zk.ErrNoAuth):
			// One that we may not read is as good as none; the next list has it tried again.
			delete(f.unread, name)
			if known {
				changes = append(changes, f.gone(name))
			}
		case a.err != nil:
			failure = a.err
		case a.change.Name != "": // or it was not asked any more
			delete(f.unread, name)
			f.known[name] = struct{}{}
			changes = append(changes, a.change)
		}
	}
	return changes, failure
}

func (f *Follower) get(name string) (Change, error) {
	c := Change{Name: name}
	err := f.session.do(f.link, "get", func(conn *zk.Conn) error {
		data, stat, _, err := conn.GetW(f.path + "/" + name)
		if err != nil {
			return err
		}
		if len(data) > maxData {
			data = bytes.Clone(data[:maxData])
		}
		c.Data, c.Czxid, c.Mzxid = data, stat.Czxid, stat.Mzxid
		return nil
	})
	return c, err
}

// Confirm asks ZooKeeper something, for its silence is news, too: the session would
// notice a server that hangs only after two thirds of its timeout.
func (f *Follower) Confirm() error {
	l, err := f.session.connected()
	if err == nil {
		err = f.session.do(l, "exists", func(c *zk.Conn) error {
			_, _, err := c.Exists(f.path)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", f.path, err)
	}
	return nil
}
