package transport

import (
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// NewFleetEvents returns the events of a fleet for at most limit subscribers at a time:
// the state and the generation of each node, and whether ZooKeeper is there to tell.
func NewFleetEvents(status func() service.GatewayStatus, limit int) *Events {
	e := newEvents(limit)
	told := make(map[string]nodeNews)
	e.look = func() {
		s := status()
		e.fleet(s.Fleet, s.At, told)
	}
	return e
}

// nodeNews is what is news of a node. Its load is not: it changes with each record.
type nodeNews struct {
	Node       string `json:"node"`
	State      string `json:"state"`
	Region     string `json:"region"`
	Zone       string `json:"zone"`
	Generation uint64 `json:"generation"`
	Held       bool   `json:"held,omitempty"`
}

func (e *Events) fleet(s *service.Fleet, now time.Time, told map[string]nodeNews) {
	e.tell("", "fleet", struct {
		Live     bool `json:"live"`
		Complete bool `json:"complete"`
	}{s.Live(now), s.Complete})
	for _, n := range s.Nodes {
		news := nodeNews{n.Name, n.State(), n.Record.Region, n.Record.Zone, n.Record.Generation, n.Held}
		if told[n.Name] != news {
			told[n.Name] = news
			e.tell(n.Name, "node", news)
		}
	}
	for name, news := range told {
		if s.Find(name) == nil {
			delete(told, name)
			news.State = "gone"
			e.tell(name, "node", news)
			e.forget(name)
		}
	}
}

// forget leaves a thing out of what is the case now.
func (e *Events) forget(about string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.current, about)
}
