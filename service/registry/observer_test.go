package registry_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// observer looks at one node with a plain client, as a signalling server would.
type observer struct {
	t    *testing.T
	c    *zk.Conn
	path string
}

func look(t *testing.T, z *realtest.ZooKeeper, path string) *observer {
	t.Helper()
	return &observer{t: t, c: z.Client(t), path: path}
}

// record is what the node says now.
func (o *observer) record() (directory.Record, *zk.Stat, error) {
	data, stat, err := o.c.Get(o.path)
	if err != nil {
		return directory.Record{}, nil, err
	}
	r, err := directory.Decode(data)
	return r, stat, err
}

// eventually waits until the node says that restAddr serves.
func (o *observer) eventually(restAddr string) {
	o.t.Helper()
	o.until("is at "+restAddr, func(r directory.Record, _ *zk.Stat) bool { return r.RESTAddr == restAddr })
}

// until waits for a record for which ok holds and returns its Stat.
func (o *observer) until(what string, ok func(directory.Record, *zk.Stat) bool) *zk.Stat {
	o.t.Helper()
	var stat *zk.Stat
	realtest.Eventually(o.t, soon, func() error {
		r, s, err := o.record()
		if err != nil {
			return fmt.Errorf("look at %s: %w", o.path, err)
		}
		if !ok(r, s) {
			return fmt.Errorf("no record that %s, but %s", what, r.Encode())
		}
		stat = s
		return nil
	})
	return stat
}

// gone waits until there is no node.
func (o *observer) gone(within time.Duration) {
	o.t.Helper()
	realtest.Eventually(o.t, within, func() error {
		found, _, err := o.c.Exists(o.path)
		if err != nil || found {
			return fmt.Errorf("%s still exists (%v)", o.path, err)
		}
		return nil
	})
}

// written waits for n more writes than there were at the call.
func (o *observer) written(n uint64) {
	o.t.Helper()
	var first uint64
	o.until("is there", func(r directory.Record, _ *zk.Stat) bool { first = r.Seq; return true })
	o.until("was written again", func(r directory.Record, _ *zk.Stat) bool { return r.Seq >= first+n })
}

// seen is what watching a node over a time amounts to.
type seen struct {
	absent int
	owners []int64 // one after the other
	addrs  map[string]bool
}

// follow looks every few milliseconds until the returned function is called. What
// ZooKeeper does not answer is not counted.
func (o *observer) follow() func() seen {
	s := seen{addrs: make(map[string]bool)}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			switch r, stat, err := o.record(); {
			case errors.Is(err, zk.ErrNoNode):
				s.absent++
			case err == nil:
				s.addrs[r.RESTAddr] = true
				if n := len(s.owners); n == 0 || s.owners[n-1] != stat.EphemeralOwner {
					s.owners = append(s.owners, stat.EphemeralOwner)
				}
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	end := sync.OnceValue(func() seen {
		close(stop)
		<-stopped
		return s
	})
	o.t.Cleanup(func() { end() })
	return end
}
