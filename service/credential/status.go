package credential

import "time"

// Credential is what a client is given.
type Credential struct {
	Generation uint64
	Username   string
	Password   Secret
	Expires    time.Time
}

// Hand returns the credential to give to a client, and notes that somebody has
// it. It is false while there is none that is proved and valid.
func (r *Rotator) Hand() (Credential, bool) { return r.current(true) }

// Peek returns the same for this process' own probes, which make no claim on it.
func (r *Rotator) Peek() (Credential, bool) { return r.current(false) }

func (r *Rotator) current(fetch bool) (Credential, bool) {
	now := time.Now()
	// The lock orders the note before the decision to delete an unfetched
	// generation, which is taken only after it was swapped out under the lock.
	r.mu.RLock()
	defer r.mu.RUnlock()
	g := r.book.find(Active)
	if g == nil || !g.servable(now) {
		return Credential{}, false
	}
	if fetch && !g.fetched.Load() {
		g.fetched.Store(true)
	}
	return Credential{Generation: g.ID, Username: g.Username, Password: g.Password, Expires: g.Expires}, true
}

// Find returns the generation with this username, 0 if there is none.
func (r *Rotator) Find(username string) uint64 {
	for _, g := range r.snapshot().gens {
		if g.Username == username {
			return g.ID
		}
	}
	return 0
}

// Status is one consistent view. It holds no half of a credential.
type Status struct {
	Generations []GenerationStatus
	Active      uint64    // 0 while none is handed out
	Published   time.Time // of the active generation; zero while there is none
	Expires     time.Time
	Failure     string // why the last rotation attempt failed; "" when it did not
	// DeletesPending counts users that should be gone and are not.
	DeletesPending int
}

// GenerationStatus is one generation without its secrets.
type GenerationStatus struct {
	ID                 uint64
	State              State
	Published, Expires time.Time
	Fetched            bool
}

// Status returns what is on record now.
func (r *Rotator) Status() Status {
	now := time.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := Status{Failure: r.failure, DeletesPending: r.unowned}
	for i := range r.book.gens {
		g := &r.book.gens[i]
		s.Generations = append(s.Generations, GenerationStatus{
			ID: g.ID, State: g.State, Published: g.Published, Expires: g.Expires, Fetched: g.fetched.Load(),
		})
		switch {
		case g.State == Active && g.servable(now):
			s.Active, s.Published, s.Expires = g.ID, g.Published, g.Expires
		case g.deletable(now, skew(r.config().Lifetime)):
			s.DeletesPending++
		}
	}
	return s
}
