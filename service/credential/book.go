package credential

import (
	"slices"
	"sync/atomic"
	"time"
)

// book is all that is on record. It is a value: a step edits a copy, the copy is
// saved, and only then it becomes the book that is read.
type book struct {
	next uint64
	// keepUnknown is the time, with a monotonic reading, before which no user that the
	// book does not name is deleted; zero when the book was never lost.
	keepUnknown time.Time
	gens        []generation
}

func (b book) clone() book {
	b.gens = slices.Clone(b.gens)
	return b
}

func (b *book) find(state State) *generation {
	for i := range b.gens {
		if b.gens[i].State == state {
			return &b.gens[i]
		}
	}
	return nil
}

func (b *book) byID(id uint64) *generation {
	for i := range b.gens {
		if b.gens[i].ID == id {
			return &b.gens[i]
		}
	}
	return nil
}

func (b *book) remove(id uint64) {
	b.gens = slices.DeleteFunc(b.gens, func(g generation) bool { return g.ID == id })
}

func (b *book) file(node, realm string) fileState {
	s := fileState{Version: fileVersion, Node: node, Realm: realm, Next: b.next, KeepUntilMS: millis(b.keepUnknown)}
	for _, g := range b.gens {
		s.Generations = append(s.Generations, fileGeneration{
			ID: g.ID, State: g.State, Username: g.Username, Password: g.Password.Reveal(), Imported: g.Imported,
			PublishedMS: millis(g.Published), ExpiresMS: millis(g.Expires),
		})
	}
	return s
}

// openBook brings the book back from disk. Whoever a generation was handed to is
// not on record, so each counts as fetched; none was proved to the child that
// runs now; and one that was never published is retired, for nobody has it.
func openBook(s fileState, now time.Time, lifetime time.Duration) book {
	b := book{next: s.Next}
	if until := fromMillis(s.KeepUntilMS); !until.IsZero() {
		b.keepUnknown = now.Add(until.Sub(now)) // which a step of the wall clock does not move
	}
	for _, f := range s.Generations {
		g := generation{
			ID: f.ID, State: f.State, Username: f.Username, Password: Secret(f.Password), Imported: f.Imported,
			Published: fromMillis(f.PublishedMS), Expires: fromMillis(f.ExpiresMS),
			seen: now, fetched: new(atomic.Bool),
		}
		switch {
		case g.State == Revoked:
		case g.Expires.IsZero():
			g.State = Retiring
		default:
			g.left = validity(now, g.Expires, lifetime)
			g.fetched.Store(true)
		}
		b.gens = append(b.gens, g)
	}
	return b
}

// deletable says whether nobody has a claim on a generation any more.
func (g *generation) deletable(now time.Time, skew time.Duration) bool {
	if g.State != Retiring {
		return g.State == Revoked
	}
	return !g.fetched.Load() || expired(now, g.Expires.Add(skew), now.Sub(g.seen), g.left+skew)
}

// servable says whether g may be handed out at now.
func (g *generation) servable(now time.Time) bool {
	return g.proved && servable(now, g.Expires, now.Sub(g.seen), g.left)
}

// validFor returns how long g will still be handed out if it gets no successor.
func (g *generation) validFor(now time.Time) time.Duration {
	return max(0, min(g.Expires.Sub(now.Round(0)), g.left-now.Sub(g.seen)))
}
