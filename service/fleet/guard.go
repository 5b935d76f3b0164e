package fleet

import "time"

// together is how far apart records may vanish and still have vanished for one reason.
// ZooKeeper ends the sessions of a pause by and by, over some of its ticks.
const together = 3 * time.Second

// guard keeps what vanished with most of the fleet. A pause of ZooKeeper that is longer
// than the session timeout removes every record although every TURN server is fine;
// the nodes are back in seconds, and until then the last view is better than none.
type guard struct {
	hold time.Duration
	gone map[string]*ghost
}

type ghost struct {
	node *Node
	at   time.Time
	held bool
}

func newGuard(hold time.Duration) *guard {
	return &guard{hold: hold, gone: make(map[string]*ghost)}
}

func (g *guard) vanished(n *Node, at time.Time) { g.gone[n.Name] = &ghost{node: n, at: at} }

func (g *guard) back(name string) { delete(g.gone, name) }

// judge decides who is held beside the nodes that are present, and says whether that
// has changed.
func (g *guard) judge(present int, now time.Time) (changed bool) {
	var recent []*ghost
	for name, gh := range g.gone {
		since := now.Sub(gh.at)
		switch {
		case gh.held && since < g.hold, since < together:
		default:
			changed = changed || gh.held
			delete(g.gone, name)
		}
		if since < together {
			recent = append(recent, gh)
		}
	}
	if len(recent) > present {
		for _, gh := range recent {
			changed = changed || !gh.held
			gh.held = true
		}
	}
	return changed
}

// held are the nodes that still count.
func (g *guard) held() (nodes []*Node) {
	for _, gh := range g.gone {
		if gh.held {
			n := *gh.node
			n.Held = true
			nodes = append(nodes, &n)
		}
	}
	return nodes
}
