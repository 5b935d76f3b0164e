package registry

import (
	"time"

	"github.com/turnwarden/turnwarden/service/directory"
)

// Status is what is known about the registration at one moment.
type Status struct {
	Registered  bool // the record is in ZooKeeper and ours, as far as we know
	Session     directory.Status
	Conflict    string           // who else has our name; empty: nobody
	LastError   string           // of the last write; empty: it succeeded
	LastPublish time.Time        // of the last write that succeeded
	LastRecord  directory.Record // what it wrote
}

// Status returns where the registration stands, at once and from any goroutine.
func (r *Registrar) Status() Status {
	r.mu.Lock()
	status := r.status
	r.mu.Unlock()
	status.Session = r.session.Status()
	return status
}
