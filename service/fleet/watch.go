package fleet

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-kit/kit/metrics"
	"golang.org/x/time/rate"

	"github.com/turnwarden/turnwarden/service/directory"
)

const (
	gather = 100 * time.Millisecond // changes of a large fleet are read together
	beat   = 500 * time.Millisecond // between two questions to ZooKeeper, of which fresh allows one to fail
	relist = time.Minute            // a net under the watches
)

// Config says which fleet to read.
type Config struct {
	Directory directory.Config
	Path      string // parent of the records
	// Allows, unless nil, says which addresses nodes may be asked at. A node elsewhere is
	// never picked.
	Allows func(netip.Addr) bool
}

// Metrics are the events of the reading.
type Metrics struct {
	directory.Metrics
	Rejected metrics.Counter // records that make no sense, by reason
}

// Watcher reads the fleet and keeps up with it.
type Watcher struct {
	cfg      Config
	changed  func(*Snapshot)
	logger   *slog.Logger
	metrics  Metrics
	session  *directory.Session
	follower *directory.Follower
	complain rate.Sometimes
	snapshot atomic.Pointer[Snapshot]

	// The rest belongs to Run.
	members  map[string]*member
	rejected map[string]*rejection
	left     directory.Left
	guard    *guard
	answered time.Time // the last answer that the ages of the members were brought up to
	listed   time.Time
	again    bool // the last read has failed
}

// member is a node and what is known of its life.
type member struct {
	node    *Node
	life    life
	age     age
	checked bool // its silence is no oversight of ours: the record was read once more
}

// life is what another write changes.
type life struct {
	registration int64
	write        uint64
}

// NewWatcher returns a watcher that begins with Run. changed is told each new state, by
// Run's goroutine, and must not block.
func NewWatcher(cfg Config, changed func(*Snapshot), logger *slog.Logger, m Metrics) *Watcher {
	m.Begin("children", "get", "exists")
	for _, reason := range reasons() {
		m.Rejected.With("reason", reason).Add(0)
	}
	w := &Watcher{
		cfg: cfg, changed: changed, logger: logger, metrics: m,
		session:  directory.New(cfg.Directory, logger, m.Metrics),
		complain: rate.Sometimes{First: 3, Interval: time.Minute},
		members:  make(map[string]*member),
		rejected: make(map[string]*rejection),
		guard:    newGuard(cfg.Directory.SessionTimeout + 10*time.Second),
	}
	w.follower = w.session.Follow(cfg.Path)
	w.snapshot.Store(&Snapshot{})
	return w
}

// Snapshot returns the fleet as it was last seen.
func (w *Watcher) Snapshot() *Snapshot { return w.snapshot.Load() }

// Session returns where the connection to ZooKeeper stands.
func (w *Watcher) Session() directory.Status { return w.session.Status() }

// Run reads until ctx ends. While ZooKeeper is away the last snapshot stands.
func (w *Watcher) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- w.session.Run(ctx) }()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	news := w.session.Changed()
	var rested <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return <-ended
		case <-tick.C:
			w.beat()
		case <-news:
			w.read()
			news, rested = nil, time.After(gather)
		case <-rested:
			news, rested = w.session.Changed(), nil
		}
	}
}

// read brings in what has changed.
func (w *Watcher) read() {
	changes, err := w.follower.Read()
	w.again = err != nil
	now := time.Now()
	changed := w.apply(changes, now)
	changed = w.count(w.follower.Left()) || changed
	if err == nil {
		changed = changed || !w.Snapshot().Complete
	}
	w.publish(changed, err == nil, now)
	if err != nil && !errors.Is(err, directory.ErrNoSession) {
		w.complain.Do(func() { w.logger.Warn("cannot read the fleet; the last view stands, trying again", "err", err) })
	}
}

// beat asks ZooKeeper whether it is there, and has the records age if it is.
func (w *Watcher) beat() {
	now := time.Now()
	look := w.again
	if now.Sub(w.listed) >= relist {
		w.listed, look = now, true
		w.follower.Relist()
	}
	confirmed := w.follower.Confirm() == nil
	now = time.Now()
	if confirmed && !w.again {
		look = w.grow(now) || look
	}
	if look {
		w.read()
		now = time.Now()
	}
	w.publish(w.settle(), confirmed && !w.again, now)
}

// grow has the records age by the time since ZooKeeper's last answer. It is true if
// there are some to be read once more before they count as stale.
func (w *Watcher) grow(now time.Time) (look bool) {
	dt := now.Sub(w.answered)
	w.answered = now
	for name, m := range w.members {
		every := interval(&m.node.Record)
		m.age.advance(dt, now.Sub(m.node.Written), every)
		if m.age.overdue(every) && m.node.Doubt != Stale && !m.checked {
			m.checked, look = true, true
			w.follower.Again(name)
		}
	}
	return look
}

// settle draws the conclusions from ages and absences.
func (w *Watcher) settle() (changed bool) {
	for name, m := range w.members {
		if m.checked && !w.again && m.node.Doubt == "" && m.age.overdue(interval(&m.node.Record)) {
			w.complain.Do(func() {
				w.logger.Warn("a record is not written any more: its node is not picked until it is", "node", name, "limit", interval(&m.node.Record))
			})
			m.doubt(Stale)
			changed = true
		}
	}
	return changed
}

func (m *member) doubt(d Doubt) {
	n := *m.node
	n.Doubt = d
	m.node = &n
}

// apply takes over what was read and says whether anything is different.
func (w *Watcher) apply(changes []directory.Change, now time.Time) (changed bool) {
	for _, c := range changes {
		old := w.members[c.Name]
		delete(w.rejected, c.Name)
		if c.Gone {
			if old != nil {
				w.guard.vanished(old.node, now)
				delete(w.members, c.Name)
			}
			changed = true
			continue
		}
		w.guard.back(c.Name)
		n, bad := accept(c, now)
		if bad != nil {
			w.metrics.Rejected.With("reason", bad.reason).Add(1)
			w.complain.Do(func() {
				w.logger.Warn("a record makes no sense and is passed over", "node", clip(c.Name), "err", bad.err)
			})
			w.rejected[c.Name] = bad
			delete(w.members, c.Name)
			changed = true
			continue
		}
		m := &member{node: n, life: life{c.Czxid, n.Record.Seq}}
		if n.Record.V == 0 {
			m.life.write = uint64(c.Mzxid) // the seed's records do not count their writes
		}
		if old != nil && old.life == m.life { // only read again
			m.age, m.checked, m.node.Written, m.node.Doubt = old.age, old.checked, old.node.Written, old.node.Doubt
		} else {
			changed = true
		}
		if w.cfg.forbidden(&n.Record) {
			if n.Doubt = Forbidden; old == nil || old.node.Doubt != Forbidden {
				w.complain.Do(func() {
					w.logger.Warn("a record's address is outside gateway.node.allow_cidrs: its node is never picked", "node", n.Name, "address", n.Record.RESTAddr)
				})
			}
		}
		w.members[c.Name] = m
	}
	return changed
}

// count takes over how many children are not read, and says so when there are more.
func (w *Watcher) count(left directory.Left) (changed bool) {
	was := w.left
	w.left = left
	w.metrics.Rejected.With("reason", badName).Add(float64(max(0, left.Invalid-was.Invalid)))
	w.metrics.Rejected.With("reason", tooMany).Add(float64(max(0, left.TooMany-was.TooMany)))
	if left.Invalid > was.Invalid || left.TooMany > was.TooMany {
		w.complain.Do(func() {
			w.logger.Warn("children that no node can have made, or that are too many, are passed over",
				"path", w.cfg.Path, "before", was.Invalid+was.TooMany, "now", left.Invalid+left.TooMany)
		})
	}
	return left != was
}

// publish makes what is known the snapshot.
func (w *Watcher) publish(changed, confirmed bool, now time.Time) {
	before := w.Snapshot()
	held := before.Held
	changed = w.guard.judge(len(w.members), now) || changed
	next := *before
	if confirmed {
		next.Confirmed, next.Complete = now, next.Complete || !w.again
	}
	if changed {
		next.Nodes, next.Rejected = w.nodes(), len(w.rejected)+w.left.Invalid+w.left.TooMany
		next.Held = len(next.Nodes) - len(w.members)
	}
	w.snapshot.Store(&next)
	if next.Held > 0 && held == 0 {
		w.logger.Warn("most of the fleet vanished from ZooKeeper at once: serving it from the last view for a while, each node only if it answers",
			"before", len(next.Nodes), "now", len(w.members), "limit", w.guard.hold)
	}
	if changed {
		w.changed(&next)
	}
}

// nodes are all that count, by name. Where two have one address, as after a node was
// renamed, the later registration is the true one.
func (w *Watcher) nodes() []*Node {
	nodes := make([]*Node, 0, len(w.members))
	latest := make(map[string]int64, len(w.members))
	for _, m := range w.members {
		latest[m.node.Record.RESTAddr] = max(latest[m.node.Record.RESTAddr], m.node.Registration)
	}
	for _, m := range w.members {
		switch late := m.node.Registration < latest[m.node.Record.RESTAddr]; {
		case late && m.node.Doubt == "":
			m.doubt(Superseded)
		case !late && m.node.Doubt == Superseded:
			m.doubt("")
		}
		nodes = append(nodes, m.node)
	}
	nodes = append(nodes, w.guard.held()...)
	slices.SortFunc(nodes, func(a, b *Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes
}
