package directory_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// mirror applies what a follower tells.
type mirror struct {
	t        *testing.T
	session  *directory.Session
	follower *directory.Follower
	data     map[string]string
	czxid    map[string]int64
	gone     int
}

// follow keeps a session with a follower until the test ends.
func follow(t *testing.T, z *realtest.ZooKeeper, timeout time.Duration) *mirror {
	t.Helper()
	s := newSession(directory.Config{Servers: []string{z.Addr()}, SessionTimeout: timeout, ACL: directory.ACLOpen})
	m := &mirror{t: t, session: s, follower: s.Follow("/a/b"), data: map[string]string{}, czxid: map[string]int64{}}
	start(t, s)
	return m
}

// until reads each time the session says that there is something, until all is as wanted.
func (m *mirror) until(want map[string]string) {
	m.t.Helper()
	limit := time.After(30 * time.Second)
	again := time.NewTicker(time.Second) // what failed is tried again; nothing that succeeded needs it
	defer again.Stop()
	failed := false
	for {
		select {
		case <-m.session.Changed():
		case <-again.C:
			if !failed {
				continue
			}
		case <-limit:
			m.t.Fatalf("not within 30 s: %d children, want %d", len(m.data), len(want))
		}
		failed = m.read() != nil
		if maps.Equal(m.data, want) {
			return
		}
	}
}

func (m *mirror) read() error {
	m.t.Helper()
	changes, err := m.follower.Read()
	for _, c := range changes {
		if c.Gone {
			if _, ok := m.data[c.Name]; !ok {
				m.t.Errorf("%s is gone, and was never there", c.Name)
			}
			m.gone++
			delete(m.data, c.Name)
			continue
		}
		m.data[c.Name], m.czxid[c.Name] = string(c.Data), c.Czxid
	}
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	c := z.Client(t)
	m := follow(t, z, 4*time.Second)
	create := func(path, data string) {
		t.Helper()
		_, err := c.Create(path, []byte(data), 0, zk.WorldACL(zk.PermAll))
		must(t, err)
	}
	if _, err := m.follower.Read(); !errors.Is(err, directory.ErrNoSession) {
		t.Errorf("read without a session: %v", err)
	}
	m.until(map[string]string{}) // the path does not exist
	create("/a", "")
	create("/a/b", "the parent's own data")
	create("/a/b/x", "1")
	create("/a/b/y", "1")
	m.until(map[string]string{"x": "1", "y": "1"})
	for i := range 100 {
		_, err := c.Set("/a/b/x", fmt.Append(nil, i), -1)
		must(t, err)
	}
	m.until(map[string]string{"x": "99", "y": "1"})
	must(t, c.Delete("/a/b/y", -1))
	m.until(map[string]string{"x": "99"})

	// As a node is taken over by a new session: it never misses.
	m.gone = 0
	before := m.czxid["x"]
	_, err := c.Multi(&zk.DeleteRequest{Path: "/a/b/x", Version: -1}, &zk.CreateRequest{Path: "/a/b/x", Data: []byte("taken"), Acl: zk.WorldACL(zk.PermAll)})
	must(t, err)
	m.until(map[string]string{"x": "taken"})
	if m.gone != 0 || m.czxid["x"] <= before {
		t.Errorf("a node taken over was gone %d times, czxid %d after %d", m.gone, m.czxid["x"], before)
	}

	// Nobody may read it, until somebody may.
	_, err = c.Create("/a/b/hidden", nil, 0, zk.WorldACL(zk.PermAdmin|zk.PermDelete))
	must(t, err)
	create("/a/b/z", "2")
	m.until(map[string]string{"x": "taken", "z": "2"})
	_, err = c.SetACL("/a/b/hidden", zk.WorldACL(zk.PermAll), -1)
	must(t, err)
	m.follower.Relist()
	must(t, m.read())
	if m.data["hidden"] != "" || len(m.data) != 3 {
		t.Errorf("after its ACL was opened: %q", m.data)
	}
	for _, name := range []string{"x", "z", "hidden"} {
		must(t, c.Delete("/a/b/"+name, -1))
	}
	must(t, c.Delete("/a/b", -1))
	m.until(map[string]string{})
	create("/a/b", "")
	create("/a/b/x", "back")
	m.until(map[string]string{"x": "back"})
	// One watch for each child and one for the list, whatever has happened.
	realtest.Eventually(t, 5*time.Second, func() error {
		if n := z.Watches(); n != "2" {
			return fmt.Errorf("%s watches, want 2", n)
		}
		return nil
	})
	must(t, m.follower.Confirm())
}

// TestFollowMany has so many children that the library arms their watches again in
// several packets after a reconnect: not one may be lost.
func TestFollowMany(t *testing.T) {
	t.Parallel()
	const children = 6000
	z := realtest.StartZooKeeper(t)
	c := z.Client(t)
	_, err := c.Multi(
		&zk.CreateRequest{Path: "/a", Acl: zk.WorldACL(zk.PermAll)},
		&zk.CreateRequest{Path: "/a/b", Acl: zk.WorldACL(zk.PermAll)})
	must(t, err)
	want := map[string]string{}
	write := func(data string) {
		t.Helper()
		for i := 0; i < children; i += 500 {
			var ops []any
			for j := i; j < i+500; j++ {
				name := fmt.Sprintf("turn-%d.a-name-of-some-length.example.org", j)
				if _, ok := want[name]; ok {
					ops = append(ops, &zk.SetDataRequest{Path: "/a/b/" + name, Data: []byte(data), Version: -1})
				} else {
					ops = append(ops, &zk.CreateRequest{Path: "/a/b/" + name, Data: []byte(data), Acl: zk.WorldACL(zk.PermAll)})
				}
				want[name] = data
			}
			_, err := c.Multi(ops...)
			must(t, err)
		}
	}
	write("1")
	m := follow(t, z, 40*time.Second)
	m.until(want)
	z.Restart()
	realtest.Eventually(t, 30*time.Second, func() error {
		if n := z.Watches(); n != fmt.Sprint(children+1) {
			return fmt.Errorf("%s watches after a restart, want %d", n, children+1)
		}
		return nil
	})
	realtest.Eventually(t, 30*time.Second, func() error { // or what is asked now is refused
		_, _, err := c.Exists("/")
		return err
	})
	write("2")
	m.until(want)
	if s := m.session.Status(); s.Expirations != 0 {
		t.Errorf("%d sessions were lost", s.Expirations)
	}
}

// TestFollowNewSession covers a session that ends while things change.
func TestFollowNewSession(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	c := z.Client(t)
	for _, path := range []string{"/a", "/a/b", "/a/b/stays", "/a/b/goes", "/a/b/changes"} {
		_, err := c.Create(path, []byte("1"), 0, zk.WorldACL(zk.PermAll))
		must(t, err)
	}
	m := follow(t, z, time.Second)
	m.until(map[string]string{"stays": "1", "goes": "1", "changes": "1"})
	z.Pause()
	realtest.Eventually(t, 20*time.Second, func() error {
		if m.session.Status().State != directory.Expired {
			return errors.New("the session stands")
		}
		return nil
	})
	if err := m.follower.Confirm(); err == nil {
		t.Error("a ZooKeeper that hangs was confirmed")
	}
	z.Cont()
	realtest.Eventually(t, 20*time.Second, func() error {
		_, err := c.Set("/a/b/changes", []byte("2"), -1)
		return err
	})
	must(t, c.Delete("/a/b/goes", -1))
	m.until(map[string]string{"stays": "1", "changes": "2"})
	_, err := c.Set("/a/b/changes", []byte("3"), -1)
	must(t, err)
	m.until(map[string]string{"stays": "1", "changes": "3"})
}
