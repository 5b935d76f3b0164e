package calls

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// The open allocations are counted from the log and compared, this often, with what
// nobody outside can forge. Asking for their number costs turnserver 2 KB however
// many there are; the list of them, 5 MB for 10,000, is asked for only where the
// numbers differ.
const (
	censusEvery = 15 * time.Second
	censusLimit = 10 * time.Second
	censusHurry = 4 * time.Second
	// recount and relist are the pauses after which a difference must still be there:
	// lines may be on their way.
	recount  = 100 * time.Millisecond
	recounts = 3
	relist   = 2 * time.Second
	// Not a second: probes may come at every one.
	resocket = 700 * time.Millisecond
	relooks  = 12
	fewLooks = 3
)

// Roll is what coturn's CLI says of its allocations.
type Roll interface {
	Allocations(ctx context.Context) (int, error)
	List(ctx context.Context, username string) ([]coturn.Session, error)
}

// Census keeps the number of open allocations true whatever the log says.
type Census struct {
	log     *Log
	pid     func() int
	roll    Roll
	sockets func(pid int) (int, error)
	release func() coturn.Version
	logger  *slog.Logger
}

// NewCensus returns a census that begins with Run. pid is the running child's, 0
// without one; sockets, which counts a child's relay sockets, is asked where the CLI
// cannot be; release is the child's.
func NewCensus(log *Log, pid func() int, roll Roll, sockets func(pid int) (int, error), release func() coturn.Version, logger *slog.Logger) *Census {
	return &Census{log: log, pid: pid, roll: roll, sockets: sockets, release: release, logger: logger}
}

// Run takes one census after another until ctx ends. The first is taken at once: the
// child may be older than we are.
func (c *Census) Run(ctx context.Context) error {
	tick := time.NewTicker(censusEvery)
	defer tick.Stop()
	for failing := false; ; {
		if pid := c.pid(); pid != 0 {
			_, err := c.Take(ctx)
			if c.pid() != pid {
				err = nil // it ended meanwhile, and its allocations with it
			}
			switch {
			case err != nil && !failing && ctx.Err() == nil:
				c.logger.Warn("turnserver cannot be asked for its allocations: they are counted from its log alone, of which lines can be forged and lost", "err", err)
			case err == nil && failing:
				c.logger.Info("turnserver is asked for its allocations again")
			}
			failing = err != nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Take returns how many allocations there are, those of our own probes among them,
// and has mended the count of the log if that was another.
func (c *Census) Take(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, censusLimit)
	defer cancel()
	n, agreed, err := c.compare(ctx, func() (int, error) { return c.roll.Allocations(ctx) }, recount, recounts)
	switch {
	case agreed:
		return n, nil
	case err == nil:
		return c.takeList(ctx)
	case ctx.Err() != nil:
		return 0, err
	}
	n, noSockets := c.takeSockets(ctx)
	if noSockets != nil {
		return 0, errors.Join(err, fmt.Errorf("count relay sockets: %w", noSockets))
	}
	return n, nil
}

// takeSockets compares the number of relay sockets. Those of our probes come and go
// meanwhile, and on a busy machine, where one look takes a second, in the midst of it: so
// each look tells by how many the log is amiss at least and at most, and what several of
// them in a row leave over is so.
func (c *Census) takeSockets(ctx context.Context) (n int, err error) {
	low, high, looks := 0, 0, 0
	for look := 0; look == 0 || look < relooks && ctx.Err() == nil; look++ {
		before := c.log.known()
		if n, err = c.sockets(c.pid()); err != nil {
			return 0, err
		}
		after := c.log.known()
		least, most := n-max(before, after), n-min(before, after)
		if least == 0 && most == 0 {
			return n, nil
		}
		if low, high = max(low, least), min(high, most); looks == 0 || low > high {
			low, high, looks = least, most, 0
		}
		if looks++; low == high && looks >= fewLooks {
			if low != 0 {
				c.log.with(func(s *coturn.Sessions) { s.Trust(s.Known() + low) })
				c.mended(n)
			}
			return n, nil
		}
		_ = wait(ctx, resocket)
	}
	return n, nil // true for now, and perhaps the log is, too
}

// Now is how many calls there are, for those who cannot wait for long: by the log, and
// those that it does not know of. What was given up a moment ago serves nobody.
func (c *Census) Now(hurry <-chan struct{}) int {
	ctx, cancel := context.WithTimeout(context.Background(), censusHurry)
	defer cancel()
	go func() {
		select {
		case <-hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	n, err := c.Take(ctx)
	open, unknown := c.log.Sessions().Open, n-c.log.known()
	if err != nil {
		unknown = 0
	}
	return open + max(0, unknown)
}

// compare counts until the log agrees, so many times at most.
func (c *Census) compare(ctx context.Context, count func() (int, error), pause time.Duration, times int) (n int, agreed bool, err error) {
	for range times {
		before := c.log.known()
		if n, err = count(); err != nil {
			return 0, false, err
		}
		if after := c.log.known(); min(before, after) <= n && n <= max(before, after) {
			return n, true, nil
		}
		if err := wait(ctx, pause); err != nil {
			return 0, false, err
		}
	}
	return n, false, nil
}

// takeList compares the allocations one by one, twice.
func (c *Census) takeList(ctx context.Context) (int, error) {
	first, _, err := c.difference(ctx)
	if err != nil {
		return 0, err
	}
	if err := wait(ctx, relist); err != nil {
		return 0, err
	}
	second, n, err := c.difference(ctx)
	if err != nil {
		return 0, err
	}
	wrong := first.And(second)
	c.log.with(func(s *coturn.Sessions) { s.Amend(wrong, time.Now()) })
	if !wrong.Empty() {
		c.mended(n)
	}
	return n, nil
}

func (c *Census) difference(ctx context.Context) (d coturn.Difference, n int, err error) {
	listed, err := c.roll.List(ctx, "")
	if err == nil {
		c.log.with(func(s *coturn.Sessions) { d = s.Compare(listed) })
	}
	return d, len(listed), err
}

// mended says why the number had to be mended. That the log cannot be read is said once
// for each turnserver, and is no reason to suspect a stranger.
func (c *Census) mended(open int) {
	understood, said := true, false
	if open > 0 {
		c.log.with(func(s *coturn.Sessions) { said, understood = s.Unread(), s.Understood() })
	}
	if !understood {
		if !said {
			//nolint:sloglint // one sentence, which the node's note repeats
			c.logger.Warn(fmt.Sprintf("log format of coturn %v not understood: counters are incomplete", c.release()), "allocations", open)
		}
		return
	}
	c.logger.Warn("turnserver has another number of allocations than its log tells of: lines were forged or lost; its own number counts", "allocations", open)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
