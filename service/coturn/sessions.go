package coturn

import (
	"maps"
	"slices"
	"time"
)

// maxSessions bounds the memory that forged lines can take; a host runs out of
// relay ports at half of it.
const maxSessions = 1 << 17

// maxThreads is more relay threads than any coturn has.
const maxThreads = 128

// refusals are the codes that are counted each for itself; forged or unknown
// ones are counted as 0, so that nobody can invent metric series.
var refusals = [...]int{400, 401, 403, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 500, 508}

// Sessions counts allocations and refusals from the log of one turnserver after
// another, less those of our own probes. It is not safe for two goroutines. Ids
// that were never opened are ignored; what forged and lost lines do to Open,
// Amend and Trust undo.
type Sessions struct {
	open    map[uint64]session
	running int        // how many of them serve a client
	missing int        // how many more there are, or fewer, as Trust was told
	causes  [kinds]int // of failed logins whose 401 is still to come
	read    bool       // a line of a session was understood
	own     own
	totals  SessionTotals
}

type session struct {
	since        time.Time
	client, peer Usage
	released     bool // what is left of it, for a second, serves nobody
	held         bool // it may be our own, and is not counted until that is known
	own          bool
}

func (c session) serves() bool { return !c.released && !c.own }

// SessionTotals is what was counted. All but Open only ever grows, over
// restarts of turnserver too.
type SessionTotals struct {
	Open         int
	Young        int // of which it is not known yet whether they are open or a probe's of ours
	Created      uint64
	Client       Usage          // of allocations, with STUN and ChannelData headers
	Peer         Usage          // relayed payload
	Refused      map[int]uint64 // by error code; 0 is any other
	FailedLogins FailedLogins
	Duration     Histogram     // seconds, of the allocations that ended and not with their turnserver
	Relayed      Histogram     // payload bytes, both ways, of the same
	Lines        [kinds]uint64 // by Kind
	Unread       bool          `json:"-"` // there are allocations, and no line of any was understood
}

// FailedLogins are the logins that were refused: for a user that is unknown, or
// whose userdb cannot be read; for a wrong password; for a name that no user can have.
type FailedLogins struct{ Unknown, Wrong, Malformed uint64 }

// NewSessions returns a counter at zero, with all the codes it will ever name.
func NewSessions() *Sessions {
	s := &Sessions{totals: SessionTotals{
		Refused:  map[int]uint64{0: 0},
		Duration: newHistogram(1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200),
		Relayed:  newHistogram(0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10),
	}}
	for _, code := range refusals {
		s.totals.Refused[code] = 0
	}
	s.own.clients = map[string]time.Time{}
	s.Reset()
	return s
}

// Reset forgets the open sessions: a new turnserver has none, and begins its
// ids again at 1.
func (s *Sessions) Reset() {
	s.open, s.running, s.missing, s.causes = map[uint64]session{}, 0, 0, [kinds]int{}
	s.read, s.totals.Unread = false, false
	s.own.reset()
}

// Feed counts one line, read at the given time.
func (s *Sessions) Feed(l Line, now time.Time) {
	s.totals.Lines[l.Kind]++
	if l.Session != 0 && l.Kind >= KindNew && l.Kind <= KindChallenge {
		s.read, s.totals.Unread = true, false
	}
	switch l.Kind {
	case KindNew, KindReleased, KindDeleted, KindClosed, KindUsage, KindPeerUsage:
		s.feedSession(l, now)
	case KindUnknownUser, KindWrongPassword:
		// The 401 is the next line of the thread, and there is a thread per core.
		s.causes[l.Kind] = min(s.causes[l.Kind]+1, maxThreads)
	case KindWrongUsername:
		s.totals.FailedLogins.Malformed++ // that is a 400, and none of ours
	case KindRefused:
		s.refused(l.Code, now)
	}
}

func (s *Sessions) feedSession(l Line, now time.Time) {
	call, open := s.open[l.Session]
	switch {
	case l.Kind == KindNew:
		if !open && len(s.open) < maxSessions {
			call = session{since: now, held: s.own.mayBe(l.Session, now)}
			s.put(l.Session, call)
			if !call.held {
				s.created()
			}
		}
		return
	case !open:
		return
	case l.Kind == KindReleased:
		call.released = true
	case l.Kind == KindClosed:
		call.own = call.own || s.own.made(l.Remote, call.since)
	case l.Kind == KindDeleted:
		s.end(l.Session, call, now)
		return
	case !l.Usage.plausible():
		return
	case l.Kind == KindUsage:
		call.client.add(l.Usage)
		if !call.held {
			s.totals.Client.add(l.Usage)
		}
	case l.Kind == KindPeerUsage:
		call.peer.add(l.Usage)
		if !call.held {
			s.totals.Peer.add(l.Usage)
		}
	}
	s.put(l.Session, call)
}

// end counts a session that is gone.
func (s *Sessions) end(id uint64, call session, now time.Time) {
	s.drop(id)
	switch {
	case call.own && !call.held:
		s.own.surplus++
	case call.own:
	case call.held:
		s.count(call)
		fallthrough
	default:
		s.totals.Duration.observe(max(0, now.Sub(call.since).Seconds()))
		s.totals.Relayed.observe(float64(call.peer.ReceivedBytes + call.peer.SentBytes))
	}
}

// count makes up for what was held back.
func (s *Sessions) count(call session) {
	s.created()
	s.totals.Client.add(call.client)
	s.totals.Peer.add(call.peer)
}

// created counts an allocation, or makes up for one of ours that was counted.
func (s *Sessions) created() {
	if s.own.surplus > 0 {
		s.own.surplus--
		return
	}
	s.totals.Created++
}

func (s *Sessions) put(id uint64, call session) {
	if old, open := s.open[id]; open && old.serves() {
		s.running--
	}
	if s.open[id] = call; call.serves() {
		s.running++
	}
}

func (s *Sessions) drop(id uint64) {
	if call, open := s.open[id]; open && call.serves() {
		s.running--
	}
	delete(s.open, id)
	delete(s.own.held, id)
}

// Totals returns what was counted until now.
func (s *Sessions) Totals(now time.Time) SessionTotals {
	young := s.settle(now)
	totals := s.totals
	totals.Young = young
	totals.Open, totals.Refused = max(0, s.running-young+s.missing), maps.Clone(totals.Refused)
	totals.Duration, totals.Relayed = totals.Duration.clone(), totals.Relayed.clone()
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

// Histogram counts values by the least of its bounds that is not below them.
type Histogram struct {
	Bounds []float64
	Counts []uint64 // one more than there are bounds
	Sum    float64
}

func newHistogram(bounds ...float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

func (h *Histogram) observe(v float64) {
	i, _ := slices.BinarySearch(h.Bounds, v)
	h.Counts[i]++
	h.Sum += v
}

func (h Histogram) clone() Histogram {
	h.Counts = slices.Clone(h.Counts)
	return h
}
