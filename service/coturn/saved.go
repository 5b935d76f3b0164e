package coturn

import (
	"maps"
	"slices"
	"time"
)

// SavedSessions is what the next image of this process needs to count on.
type SavedSessions struct {
	Open     []SavedSession `json:"open"`
	Missing  int            `json:"missing"`
	Read     bool           `json:"read,omitzero"`
	Causes   [kinds]int     `json:"causes"`
	Totals   SessionTotals  `json:"totals"`
	Own      SavedOwn       `json:"own"`
	Refusals []SavedRefusal `json:"refusals"`
}

// SavedSession is an allocation that is open.
type SavedSession struct {
	ID       uint64    `json:"id"`
	Since    time.Time `json:"since"`
	Client   Usage     `json:"client,omitzero"`
	Peer     Usage     `json:"peer,omitzero"`
	Released bool      `json:"released,omitzero"`
	Held     bool      `json:"held,omitzero"`
	Own      bool      `json:"own,omitzero"`
}

// SavedOwn is what our probes have to do with the counts.
type SavedOwn struct {
	Clients map[string]time.Time `json:"clients"`
	Asked   time.Time            `json:"asked"`
	Surplus int                  `json:"surplus"`
	Owed    map[int]int          `json:"owed"`
}

// SavedRefusal is one that may be our own.
type SavedRefusal struct {
	Code  int       `json:"code"`
	Cause Kind      `json:"cause"`
	At    time.Time `json:"at"`
}

// Save returns what a successor needs.
func (s *Sessions) Save() SavedSessions {
	saved := SavedSessions{
		Missing: s.missing, Read: s.read, Causes: s.causes, Totals: s.totals, Open: make([]SavedSession, 0, len(s.open)),
		Own: SavedOwn{Clients: maps.Clone(s.own.clients), Asked: s.own.asked, Surplus: s.own.surplus, Owed: maps.Clone(s.own.owed)},
	}
	saved.Totals.Refused = maps.Clone(s.totals.Refused)
	saved.Totals.Duration, saved.Totals.Relayed = s.totals.Duration.clone(), s.totals.Relayed.clone()
	for id, c := range s.open {
		saved.Open = append(saved.Open, SavedSession{id, c.since, c.client, c.peer, c.released, c.held, c.own})
	}
	for _, r := range s.own.refusals {
		saved.Refusals = append(saved.Refusals, SavedRefusal{r.code, r.cause, r.at})
	}
	return saved
}

// Resume has s count on where an earlier image stood. What that did not know begins at 0.
func (s *Sessions) Resume(saved SavedSessions) {
	s.Reset()
	s.missing, s.causes = saved.Missing, saved.Causes
	s.read = saved.Read || len(saved.Open) > 0
	for _, c := range saved.Open {
		s.put(c.ID, session{c.Since, c.Client, c.Peer, c.Released, c.Held, c.Own})
		if c.Held {
			s.own.held[c.ID] = true
		}
	}
	maps.Copy(s.own.clients, saved.Own.Clients)
	maps.Copy(s.own.owed, saved.Own.Owed)
	s.own.asked, s.own.surplus = saved.Own.Asked, saved.Own.Surplus
	for _, r := range saved.Refusals {
		s.own.refusals = append(s.own.refusals, refusal{r.Code, r.Cause, r.At})
	}
	fresh := s.totals
	s.totals = saved.Totals
	s.totals.Refused = fresh.Refused
	for code, n := range saved.Totals.Refused {
		s.totals.Refused[known(code)] += n
	}
	s.totals.Duration.unless(fresh.Duration)
	s.totals.Relayed.unless(fresh.Relayed)
}

// unless begins a histogram anew whose bounds are others than they were.
func (h *Histogram) unless(fresh Histogram) {
	if !slices.Equal(h.Bounds, fresh.Bounds) || len(h.Counts) != len(fresh.Counts) {
		*h = fresh
	}
}
