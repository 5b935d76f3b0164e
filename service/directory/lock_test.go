package directory_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

const queue = "/turn/servers-draining"

// member is a node of a fleet with a session of its own; die ends that.
type member struct {
	*directory.Lock
	die func()
}

func join(t *testing.T, z *realtest.ZooKeeper, node string, holders int) member {
	t.Helper()
	s := newSession(directory.Config{Servers: []string{z.Addr()}, SessionTimeout: 10 * time.Second, ACL: directory.ACLOpen})
	die := start(t, s)
	realtest.Eventually(t, 20*time.Second, func() error {
		if got := s.Status(); got.State != directory.Connected {
			return fmt.Errorf("session %+v", got)
		}
		return nil
	})
	return member{s.Lock(queue, node, holders), die}
}

// before tries, and returns whom the member waits for.
func (m member) before(t *testing.T) string {
	t.Helper()
	nodes, err := m.Try()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(nodes, " ")
}

func TestLock(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	for holders, want := range map[int][]string{
		1: {"", "turn-1", "turn-1"},
		2: {"", "", "turn-1 turn-2"},
		3: {"", "", ""},
	} {
		t.Run(fmt.Sprint(holders, " at once"), func(t *testing.T) {
			var members []member
			for i := range 3 {
				members = append(members, join(t, z, fmt.Sprintf("turn-%d", i+1), holders))
			}
			for range 2 { // to ask again changes nothing
				for i, m := range members {
					if got := m.before(t); got != want[i] {
						t.Errorf("turn-%d waits for %q, want %q", i+1, got, want[i])
					}
				}
			}
			for i, m := range members {
				if got := m.before(t); got != "" {
					t.Errorf("turn-%d, the first that is left, waits for %q", i+1, got)
				}
				if err := m.Release(); err != nil {
					t.Error(err)
				}
			}
			// Who comes back is the last.
			members[1].before(t)
			if got := members[0].before(t); holders == 1 && got != "turn-2" {
				t.Errorf("turn-1 waits for %q, want turn-2", got)
			}
			for _, m := range members {
				m.die()
			}
			c := z.Client(t)
			realtest.Eventually(t, 30*time.Second, func() error {
				left, _, err := c.Children(queue)
				if err == nil && len(left) > 0 {
					err = fmt.Errorf("left: %v", left)
				}
				return err
			})
		})
	}
}

// TestLockDies: a holder that is gone stands in nobody's way, and neither do a name
// that is no place and the place that an earlier session of our own has left.
func TestLockDies(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	first, second := join(t, z, "turn-1", 1), join(t, z, "turn-2", 1)
	first.before(t)
	if got := second.before(t); got != "turn-1" {
		t.Fatalf("waits for %q", got)
	}
	c := z.Client(t)
	for _, name := range []string{"turn-0-", "turn-0-000000000x", "-0000000000", "x", "a-file"} {
		if _, err := c.Create(queue+"/"+name, nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
	}
	first.die()
	realtest.Eventually(t, 30*time.Second, func() error {
		if got := second.before(t); got != "" {
			return fmt.Errorf("still waits for %q", got)
		}
		return nil
	})
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
	// Another session's, with our name and before us.
	if _, err := c.Create(queue+"/turn-2-", nil, zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	if got := second.before(t); got != "" {
		t.Errorf("waits for %q", got)
	}
	if got := join(t, z, "turn-3", 1).before(t); got != "turn-2" {
		t.Errorf("turn-3 waits for %q, want turn-2", got)
	}
	if err := second.Release(); err != nil {
		t.Error(err)
	}
	if names, _, err := c.Children(queue); err != nil || strings.Count(strings.Join(names, " "), "turn-2-") != 1 {
		t.Errorf("%v, %v: released what is another session's, or not our own", names, err)
	}
}

// TestLockAway: without ZooKeeper nobody has a turn, and a place survives a restart
// of the server as its session does.
func TestLockAway(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	m := join(t, z, "turn-1", 1)
	m.before(t)
	z.Stop()
	realtest.Eventually(t, 20*time.Second, func() error {
		if _, err := m.Try(); !errors.Is(err, directory.ErrNoSession) {
			return fmt.Errorf("without ZooKeeper: %w", err)
		}
		return nil
	})
	if err := m.Release(); !errors.Is(err, directory.ErrNoSession) {
		t.Errorf("released without ZooKeeper: %v", err)
	}
	z.Start()
	z.WaitReady()
	realtest.Eventually(t, 20*time.Second, func() error {
		before, err := m.Try()
		if err == nil && len(before) > 0 {
			err = fmt.Errorf("waits for %v", before)
		}
		return err
	})
}

// TestLockExcludes has a fleet fight for the lock.
func TestLockExcludes(t *testing.T) {
	t.Parallel()
	const nodes, holders, turns = 5, 2, 4
	z := realtest.StartZooKeeper(t)
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for i := range nodes {
		m := join(t, z, fmt.Sprintf("turn-%d", i), holders)
		all.Go(func() {
			for range turns {
				for deadline := time.Now().Add(time.Minute); ; {
					before, err := m.Try()
					if err == nil && len(before) == 0 {
						break
					}
					if time.Now().After(deadline) {
						t.Errorf("no turn within a minute: waits for %v, %v", before, err)
						return
					}
				}
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				if before, err := m.Try(); err != nil || len(before) > 0 {
					t.Errorf("lost its turn to %v, %v", before, err)
				}
				inside.Add(-1)
				if err := m.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := most.Load(); n > holders {
		t.Errorf("%d held the lock at once, want at most %d", n, holders)
	}
}
