package registry

import "github.com/turnwarden/turnwarden/service/directory"

// Saved is what the next image of this process needs to keep the same record.
type Saved struct {
	Seq     uint64
	Session *directory.Saved // nil: there is none
}

// Save returns what a successor needs.
func (r *Registrar) Save() Saved {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Saved{Seq: r.seq, Session: r.session.Save()}
}

// Restore has Run go on where an earlier image stood. It is called before Run.
func (r *Registrar) Restore(s Saved) {
	r.seq, r.status.LastRecord.Seq = s.Seq, s.Seq
	r.session.Resume(s.Session)
}
