package registry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/turnwarden/turnwarden/service/directory"
)

// Config says where the record goes and how often.
type Config struct {
	Directory      directory.Config
	Node           string
	Path           string // parent of the records
	PrometheusPath string // parent of the nodes for Prometheus; empty: none
	Prometheus     []byte // content of our node there
	Interval       time.Duration
	MaxDraining    int // how many nodes of the fleet may drain at once
}

// Publication is what the source wants to be read about this node.
type Publication struct {
	// Present says whether there is to be a node at all. A node that must not be used
	// for a while stays present with a FreeTraffic of 0.
	Present bool
	// Record is complete but for V, Seq, TS and IntervalSec, which come with the write.
	Record directory.Record
}

// Metrics are the events of the registration.
type Metrics = directory.Metrics

// Registrar keeps the record.
type Registrar struct {
	cfg        atomic.Pointer[Config]
	source     func() Publication
	logger     *slog.Logger
	session    *directory.Session
	record     *directory.Node
	prometheus *directory.Node // nil: none
	told       []byte          // its content, as we have written it; Run's alone
	draining   *directory.Lock
	kick       chan struct{}
	changed    chan struct{} // the configuration has
	done       chan struct{} // closed when Run has ended

	mu      sync.Mutex
	seq     uint64 // of the last record that was written, or tried to be
	status  Status
	waiting []chan error // one for each Flush
}

// New returns a registrar that begins with Run. The source is asked in Run's
// goroutine and must answer from memory.
func New(cfg Config, source func() Publication, logger *slog.Logger, m Metrics) *Registrar {
	m.Begin("create", "set", "delete", "exists")
	session := directory.New(cfg.Directory, logger, m)
	r := &Registrar{
		source:  source,
		logger:  logger,
		session: session,
		record:  session.Node(cfg.Path+"/"+cfg.Node, sameHost),
		kick:    make(chan struct{}, 1),
		changed: make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	r.cfg.Store(&cfg)
	r.draining = session.Lock(LockPath(cfg.Path), cfg.Node, cfg.MaxDraining)
	if cfg.PrometheusPath != "" {
		r.prometheus = session.Node(cfg.PrometheusPath+"/"+cfg.Node, bytes.Equal)
	}
	return r
}

// Configure changes the interval, how many may drain at once, and what Prometheus is
// told. The rest stays as it was.
func (r *Registrar) Configure(interval time.Duration, maxDraining int, prometheus []byte) {
	c := r.config()
	c.Interval, c.MaxDraining, c.Prometheus = interval, maxDraining, prometheus
	r.cfg.Store(&c)
	r.draining.SetHolders(maxDraining)
	select {
	case r.changed <- struct{}{}:
	default: // one is pending
	}
}

func (r *Registrar) config() Config { return *r.cfg.Load() }

// LockPath is where the nodes queue for their turn to drain: beside the records, where
// nobody takes a place in the queue for a server.
func LockPath(path string) string { return path + "-draining" }

// Draining is the lock of those who drain, on the session of the record: who loses
// that is neither listed nor draining any more, as far as the others can know.
func (r *Registrar) Draining() *directory.Lock { return r.draining }

// sameHost tells two hosts of the same name apart by the address they answer at.
func sameHost(theirs, ours []byte) bool {
	a, errA := directory.Decode(theirs)
	b, errB := directory.Decode(ours)
	return errA == nil && errB == nil && a.RESTAddr == b.RESTAddr
}

// Run keeps the record until ctx ends. By then the nodes are gone, or expire with
// the session where ZooKeeper does not answer; it never takes three seconds to return.
func (r *Registrar) Run(ctx context.Context) error {
	defer close(r.done)
	ended := make(chan error, 1)
	go func() { ended <- r.session.Run(ctx) }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due := true
		select {
		case <-ctx.Done():
			err := <-ended
			r.mu.Lock()
			r.status.Registered = false
			r.mu.Unlock()
			return err
		case <-timer.C:
		case <-r.session.Changed():
		case <-r.changed:
		case <-r.kick:
			due = false
		}
		if next := r.round(due); next > 0 {
			timer.Reset(next)
		}
	}
}

// Kick says that the source may have news. What matters to a reader is written at
// once, the rest with the next interval.
func (r *Registrar) Kick() {
	select {
	case r.kick <- struct{}{}:
	default: // One is pending, and the source is asked when its turn comes.
	}
}

// Flush writes what the source says now and returns when it is written, or says why
// it cannot be. While ZooKeeper is away it waits until ctx ends.
func (r *Registrar) Flush(ctx context.Context) error {
	written := make(chan error, 1)
	r.mu.Lock()
	r.waiting = append(r.waiting, written)
	r.mu.Unlock()
	r.Kick()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return errors.New("the registration has ended")
	}
}
