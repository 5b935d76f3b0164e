package gateway

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/turnwarden/turnwarden/service/fleet"
)

// How long a node is avoided that could not be asked: twice as long each time in a row.
const (
	avoidFirst = 2 * time.Second
	avoidMax   = 30 * time.Second
)

// avoidance remembers the nodes that did not answer, or answered with an error. They
// are picked only when there is no other.
type avoidance struct {
	mu    sync.Mutex
	nodes atomic.Pointer[map[string]avoided] // replaced, never changed: every pick reads it
}

type avoided struct {
	registration int64
	until        time.Time
	wait         time.Duration
	why          string
}

// failed says that the node could not be asked, and returns whether that is news.
func (a *avoidance) failed(n *fleet.Node, why error, now time.Time) (news bool) {
	a.change(func(nodes map[string]avoided) {
		old, ok := nodes[n.Name]
		if now.Before(old.until) {
			return // by others who asked at the same time
		}
		wait := min(max(2*old.wait, avoidFirst), avoidMax)
		nodes[n.Name] = avoided{n.Registration, now.Add(wait), wait, why.Error()}
		news = !ok
	})
	return news
}

// answered says that it could, and returns whether that is news.
func (a *avoidance) answered(name string) (news bool) {
	if _, news = a.all()[name]; news {
		a.change(func(nodes map[string]avoided) { delete(nodes, name) })
	}
	return news
}

// prune forgets nodes that are gone, or have registered anew since.
func (a *avoidance) prune(s *fleet.Snapshot) {
	if len(a.all()) == 0 {
		return
	}
	a.change(func(nodes map[string]avoided) {
		maps.DeleteFunc(nodes, func(name string, old avoided) bool {
			n := s.Find(name)
			return n == nil || n.Registration != old.registration
		})
	})
}

func (a *avoidance) change(f func(nodes map[string]avoided)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	nodes := make(map[string]avoided, len(a.all())+1)
	maps.Copy(nodes, a.all())
	f(nodes)
	a.nodes.Store(&nodes)
}

func (a *avoidance) all() map[string]avoided {
	if nodes := a.nodes.Load(); nodes != nil {
		return *nodes
	}
	return nil
}

// check returns what says whether a node is to be avoided; nil = none is.
func (a *avoidance) check(now time.Time) func(node string) bool {
	nodes := a.all()
	if len(nodes) == 0 {
		return nil
	}
	return func(node string) bool { return now.Before(nodes[node].until) }
}

// reasons are why nodes are avoided now, by name; nil = none is.
func (a *avoidance) reasons(now time.Time) (why map[string]string) {
	for name, old := range a.all() {
		if !now.Before(old.until) {
			continue
		}
		if why == nil {
			why = make(map[string]string)
		}
		why[name] = old.why
	}
	return why
}
