package registry

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/turnwarden/turnwarden/service/directory"
)

// round brings ZooKeeper up to date if that is due or cannot wait. It returns the
// time until the next write, or 0 when it left everything as it was.
func (r *Registrar) round(due bool) time.Duration {
	// A Flush from now on gets a round of its own: it must see what the source says after it.
	r.mu.Lock()
	waiting := r.waiting
	r.waiting = nil
	last, registered := r.status.LastRecord, r.status.Registered
	r.mu.Unlock()

	p := r.source()
	if !due && len(waiting) == 0 && p.Present == registered && !urgent(last, p.Record) {
		return 0
	}
	err := r.publish(p)
	if err != nil && !errors.Is(err, directory.ErrConflict) {
		r.mu.Lock()
		r.waiting = append(waiting, r.waiting...)
		r.mu.Unlock()
		return min(time.Second, r.config().Interval)
	}
	for _, written := range waiting {
		written <- err
	}
	// Hosts that were started together must not write together for ever.
	return time.Duration(float64(r.config().Interval) * (0.9 + 0.2*rand.Float64()))
}

// urgent tells news that readers must have at once from the drift of the counters.
func urgent(last, next directory.Record) bool {
	return last.State != next.State ||
		last.Generation != next.Generation ||
		(last.FreeTraffic > 0) != (next.FreeTraffic > 0) ||
		math.Abs(last.FreeTraffic-next.FreeTraffic) > next.CapacityMbps/10
}

// tellPrometheus has Prometheus' node say where our metrics are.
func (r *Registrar) tellPrometheus(content []byte) error {
	write := r.prometheus.Keep
	if !bytes.Equal(content, r.told) {
		write = r.prometheus.Put
	}
	err := write(content)
	if err == nil {
		r.told = content
	}
	return err
}

// publish makes ZooKeeper say what the source says.
func (r *Registrar) publish(p Publication) error {
	rec := p.Record
	var err error
	if p.Present {
		r.mu.Lock()
		r.seq++
		rec.Seq = r.seq
		r.mu.Unlock()
		rec.V, rec.IntervalSec = directory.RecordVersion, r.config().Interval.Seconds()
		rec.TS = time.Now().UnixMilli()
		err = r.record.Put(rec.Encode())
	} else {
		err = r.record.Delete()
	}
	trouble := err
	if r.prometheus != nil && err == nil {
		if p.Present {
			trouble = r.tellPrometheus(r.config().Prometheus)
		} else {
			trouble = r.prometheus.Delete()
		}
	}

	r.mu.Lock()
	before := r.status
	r.status.Registered = r.record.Held()
	r.status.Conflict, r.status.LastError = "", ""
	if trouble != nil {
		r.status.LastError = trouble.Error()
	}
	if errors.Is(trouble, directory.ErrConflict) {
		r.status.Conflict = trouble.Error()
	}
	if err == nil && p.Present {
		r.status.LastPublish, r.status.LastRecord = time.UnixMilli(rec.TS), rec
	}
	after := r.status
	r.mu.Unlock()
	r.tell(before, after, trouble)
	return err
}

// tell logs what has changed; a periodic part that repeats itself is not read.
func (r *Registrar) tell(before, after Status, err error) {
	if after.Registered != before.Registered {
		if after.Registered {
			r.logger.Info("registered in ZooKeeper", "path", r.config().Path+"/"+r.config().Node)
		} else {
			r.logger.Warn("not registered in ZooKeeper any more", "path", r.config().Path+"/"+r.config().Node)
		}
	}
	switch {
	case after.LastError == before.LastError, err == nil, errors.Is(err, directory.ErrNoSession):
		// The session says itself when there is none.
	case after.Conflict != "":
		r.logger.Error("not registered under a name that is taken; waiting until it is free", "err", err)
	default:
		r.logger.Warn("could not write to ZooKeeper; what is there stays for now, trying again", "err", err)
	}
}
