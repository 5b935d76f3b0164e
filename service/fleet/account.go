package fleet

import "sync/atomic"

// callLasts is how long a call is taken to last, in seconds. It need not be right:
// what picks are expected to add and what ending calls are expected to take away
// both follow from it, and cancel out while all is as usual.
const callLasts = 180

// account is what a picker knows of a node beside its record: what it sent there. It
// outlives views.
//
// A record shows the mean load of one interval. A call that came since is not in it;
// one that came in that interval is in it by half, in the mean; older ones are in it.
// So a pick is forgotten with the second measurement after it.
type account struct {
	now    atomic.Int64 // picks since the last measurement
	before atomic.Int64 // picks between the last two
	seq    uint64       // of the last measurement. Update alone uses this and the next.
	recent float64      // picks whose calls still last
}

func (a *account) debit() { a.now.Add(1) }

// unseen is how many picks the record does not show.
func (a *account) unseen() float64 {
	return float64(a.now.Load()) + float64(a.before.Load())/2
}

// measured tells the account of the measurement that the record holds.
func (a *account) measured(c *Candidate) {
	if c.Seq == a.seq {
		return
	}
	a.seq = c.Seq
	picks := a.now.Swap(0)
	a.before.Store(picks)
	a.recent += float64(picks) - a.recent*ended(c)
}

// ended is the share of a node's calls that end within one interval.
func ended(c *Candidate) float64 { return min(1, c.IntervalSec/callLasts) }

// pickMbps is how much one of our picks stands for: what the fleet carries now came
// with the picks of the last minutes, and all of it is held against ours. So it
// covers what other gateways do, which pick about as we do, whatever their number,
// and clients that take a server and never use it. It is more than the truth rather
// than less, for a debit that is too great only spreads picks more evenly.
//
// A gateway that was idle until now knows nothing from its own picks; it takes
// itself for one of many.
func pickMbps(traffic, calls, picks float64) float64 {
	const many = 16
	return (traffic + 1) / (max(picks, calls/many) + 1)
}
