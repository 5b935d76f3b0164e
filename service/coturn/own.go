package coturn

import (
	"net/netip"
	"slices"
	"time"
)

// Our probes log in as clients do, and no line names the client before its session
// is closed. So what is opened or refused within ownWindow of a probe is held back:
//
//   - an allocation until it is closed, by us or by somebody else, or until it has
//     stood longer, unreleased, than any of ours (unreleasedFor);
//   - a refusal for heldFor, in which the probe tells that it was refused. Which of
//     several refusals with one code it was makes no difference.
//
// What is found out too late, on a machine that is starved, is made up for at the
// next allocation or refusal; the few bytes of a probe are not.
const (
	ownWindow     = time.Second
	unreleasedFor = 2 * time.Second
	heldFor       = time.Second
	// glance is how long our own allocations stand. Others are open from then on,
	// although they are not yet counted as created.
	glance = 250 * time.Millisecond
	// ownKept is how long our addresses are remembered: a session whose end never
	// reached the server lives for ten minutes.
	ownKept = 15 * time.Minute
	// ownLate is how long after a probe used an address an allocation from there may
	// begin, by a line that is read late or a list that is true to the second, and be
	// its own. Clients on this host use our ports, too: before and after us.
	ownLate = 10 * time.Second
	// maxHeld bounds what is held back: in a flood, what one probe did does not count.
	maxHeld = 1024
)

// own is what our probes have to do with the counts.
type own struct {
	clients map[string]time.Time // their addresses as coturn writes them, by last use
	asked   time.Time            // when the last of them was used
	surplus int                  // allocations of theirs that were counted

	held     map[uint64]bool // allocations that may be theirs
	refusals []refusal       // of which some may be theirs
	owed     map[int]int     // refusals of theirs, by code, whose lines are to come
}

type refusal struct {
	code  int
	cause Kind // why a login was refused, if that is known
	at    time.Time
}

// reset forgets what the end of turnserver has ended.
func (o *own) reset() { o.held, o.refusals, o.owed = map[uint64]bool{}, nil, map[int]int{} }

// Asked is told the address from which a probe is about to ask.
func (s *Sessions) Asked(local netip.AddrPort, now time.Time) {
	if len(s.own.clients)%64 == 63 {
		for client, used := range s.own.clients {
			if now.Sub(used) > ownKept {
				delete(s.own.clients, client)
			}
		}
	}
	s.own.clients[local.String()], s.own.asked = now, now
}

// Refused is told that a probe got this error code, the challenge excepted.
func (s *Sessions) Refused(code int) {
	code = known(code)
	i := slices.IndexFunc(s.own.refusals, func(r refusal) bool { return r.code == code })
	if i < 0 {
		s.own.owed[code] = min(s.own.owed[code]+1, maxHeld)
		return
	}
	s.own.refusals = slices.Delete(s.own.refusals, i, i+1)
}

// made says whether an allocation that began then, from there, is ours.
func (o *own) made(remote []byte, since time.Time) bool {
	used, known := o.clients[string(remote)]
	return known && since.Sub(used).Abs() <= ownLate
}

func (o *own) recent(now time.Time) bool { return !o.asked.IsZero() && now.Sub(o.asked) < ownWindow }

// mayBe holds a new allocation back if it may be one of ours.
func (o *own) mayBe(id uint64, now time.Time) bool {
	if !o.recent(now) || len(o.held) >= maxHeld {
		return false
	}
	o.held[id] = true
	return true
}

// refused counts a refusal unless it is one of ours, or holds it back.
func (s *Sessions) refused(code int, now time.Time) {
	r := refusal{code: known(code), at: now}
	for _, cause := range [...]Kind{KindUnknownUser, KindWrongPassword} {
		if code == 401 && r.cause == KindOther && s.causes[cause] > 0 {
			s.causes[cause]--
			r.cause = cause
		}
	}
	switch {
	case s.own.owed[r.code] > 0:
		s.own.owed[r.code]--
	case s.own.recent(now) && len(s.own.refusals) < maxHeld:
		s.own.refusals = append(s.own.refusals, r)
	default:
		s.countRefusal(r)
	}
}

// known is the code that a refusal is counted under.
func known(code int) int {
	if slices.Contains(refusals[:], code) {
		return code
	}
	return 0
}

func (s *Sessions) countRefusal(r refusal) {
	s.totals.Refused[r.code]++
	switch r.cause {
	case KindUnknownUser:
		s.totals.FailedLogins.Unknown++
	case KindWrongPassword:
		s.totals.FailedLogins.Wrong++
	}
}

// settle counts what was held back long enough, and returns how many allocations
// are too young to be told from ours.
func (s *Sessions) settle(now time.Time) (young int) {
	for id := range s.own.held {
		call := s.open[id]
		switch age := now.Sub(call.since); {
		case !call.serves():
		case age > unreleasedFor:
			call.held = false
			s.open[id] = call
			delete(s.own.held, id)
			s.count(call)
		case age < glance:
			young++
		}
	}
	s.own.refusals = slices.DeleteFunc(s.own.refusals, func(r refusal) bool {
		due := now.Sub(r.at) > heldFor
		if due {
			s.countRefusal(r)
		}
		return due
	})
	return young
}
