package coturn

import (
	"strconv"
	"time"
)

// The log is no evidence: up to 4.7 anybody can forge a line of it, a line that was
// cut takes the next one with it, and a turnserver that was taken over has had
// sessions before we read its log. What its CLI lists, or how many relay sockets it
// has, nobody outside can forge.

// Known is how many allocations there are by the log. As in coturn's own count, ours
// are among them, and those that were given up less than a second ago.
func (s *Sessions) Known() int { return len(s.open) + s.missing }

// Difference is where the log and the CLI's list do not agree.
type Difference struct {
	lacking map[uint64]Session // listed, and not opened by the log
	surplus map[uint64]bool    // opened by the log, and not listed
}

// Empty says that they agree.
func (d Difference) Empty() bool { return len(d.lacking) == 0 && len(d.surplus) == 0 }

// And is what two differences have in common. A line may be on its way while a list
// is made: what is wrong twice is wrong.
func (d Difference) And(e Difference) Difference {
	both := Difference{map[uint64]Session{}, map[uint64]bool{}}
	for id, session := range d.lacking {
		if _, ok := e.lacking[id]; ok {
			both.lacking[id] = session
		}
	}
	for id := range d.surplus {
		if e.surplus[id] {
			both.surplus[id] = true
		}
	}
	return both
}

// Compare holds the log against the list of all sessions.
func (s *Sessions) Compare(listed []Session) Difference {
	d := Difference{map[uint64]Session{}, map[uint64]bool{}}
	for id := range s.open {
		d.surplus[id] = true
	}
	for _, session := range listed {
		id, err := strconv.ParseUint(session.ID, 10, 64)
		if err != nil {
			continue
		}
		if _, open := s.open[id]; !open {
			d.lacking[id] = session
		}
		delete(d.surplus, id)
	}
	return d
}

// Unread reports whether Understood has said no, of this turnserver.
func (s *Sessions) Unread() bool { return s.totals.Unread }

// Understood reports whether a line of any session was, when turnserver is known to have
// allocations. Every one of them has many, so a log without is in a format of its own.
func (s *Sessions) Understood() bool {
	s.totals.Unread = !s.read
	return s.read
}

// Amend takes the list's side. What the log has not opened is not counted as
// created: it may have been in an earlier life of ours.
func (s *Sessions) Amend(d Difference, now time.Time) {
	for id := range d.surplus {
		s.drop(id)
	}
	for id, listed := range d.lacking {
		if _, open := s.open[id]; open || len(s.open) >= maxSessions {
			continue
		}
		started := listed.Started
		if started.IsZero() {
			started = now
		}
		ours := s.own.made([]byte(listed.ClientAddr), started)
		s.put(id, session{since: started, own: ours, held: ours})
	}
	s.missing = 0
}

// Trust takes the number of relay sockets for that of allocations, where there is no
// list.
func (s *Sessions) Trust(sockets int) { s.missing = sockets - len(s.open) }
