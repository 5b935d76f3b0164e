package coturn

import (
	"maps"
	"slices"
	"time"
)

// maxSessions bounds the memory that forged lines can take; a host runs out of
// relay ports at half of it.
const maxSessions = 1 << 17

// refusals are the codes that are counted each for itself; forged or unknown
// ones are counted as 0, so that nobody can invent metric series.
var refusals = [...]int{400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 500, 508}

// Sessions counts allocations and refusals from the log of one turnserver after
// another. It is not safe for two goroutines. Ids that were never opened are
// ignored, and whoever shows Open compares it with the CLI or with the relay
// sockets: see Line.
type Sessions struct {
	open     map[uint64]session
	released int // how many of them are
	totals   SessionTotals
}

type session struct {
	since    time.Time
	peer     Usage
	released bool // what is left of it, for a second, serves nobody
}

// SessionTotals is what was counted. All but Open only ever grows, over
// restarts of turnserver too.
type SessionTotals struct {
	Open    int
	Created uint64
	Client  Usage          // of allocations, with STUN and ChannelData headers
	Peer    Usage          // relayed payload
	Refused map[int]uint64 // by error code; 0 is any other
	Lines   [kinds]uint64  // by Kind
}

// Call is an allocation that ended.
type Call struct {
	Duration time.Duration
	Peer     Usage // relayed payload
}

// NewSessions returns a counter at zero, with all the codes it will ever name.
func NewSessions() *Sessions {
	s := &Sessions{totals: SessionTotals{Refused: map[int]uint64{0: 0}}}
	for _, code := range refusals {
		s.totals.Refused[code] = 0
	}
	s.Reset()
	return s
}

// Reset forgets the open sessions: a new turnserver has none, and begins its
// ids again at 1.
func (s *Sessions) Reset() { s.open, s.released = map[uint64]session{}, 0 }

// Feed counts one line, read at the given time, and returns the call if the
// line ended one.
func (s *Sessions) Feed(l Line, now time.Time) (Call, bool) {
	s.totals.Lines[l.Kind]++
	call, open := s.open[l.Session]
	switch l.Kind {
	case KindNew:
		if !open && len(s.open) < maxSessions {
			s.open[l.Session] = session{since: now}
			s.totals.Created++
		}
	case KindReleased:
		if open && !call.released {
			call.released = true
			s.open[l.Session] = call
			s.released++
		}
	case KindDeleted:
		delete(s.open, l.Session)
		if call.released {
			s.released--
		}
		return Call{Duration: now.Sub(call.since), Peer: call.peer}, open
	case KindUsage:
		if open && l.Usage.plausible() {
			s.totals.Client.add(l.Usage)
		}
	case KindPeerUsage:
		if open && l.Usage.plausible() {
			s.totals.Peer.add(l.Usage)
			call.peer.add(l.Usage)
			s.open[l.Session] = call
		}
	case KindRefused:
		code := l.Code
		if !slices.Contains(refusals[:], code) {
			code = 0
		}
		s.totals.Refused[code]++
	}
	return Call{}, false
}

// Totals returns what was counted so far.
func (s *Sessions) Totals() SessionTotals {
	totals := s.totals
	totals.Open, totals.Refused = len(s.open)-s.released, maps.Clone(totals.Refused)
	return totals
}

func (u *Usage) add(v Usage) {
	u.ReceivedPackets += v.ReceivedPackets
	u.ReceivedBytes += v.ReceivedBytes
	u.SentPackets += v.SentPackets
	u.SentBytes += v.SentBytes
}

// plausible keeps a forged line from turning a counter over. coturn writes a
// usage line every 4096 packets; none is longer than 64 KiB.
func (u Usage) plausible() bool {
	const packets, size = 1 << 16, 1 << 16
	return u.ReceivedPackets <= packets && u.SentPackets <= packets &&
		u.ReceivedBytes <= u.ReceivedPackets*size && u.SentBytes <= u.SentPackets*size
}
