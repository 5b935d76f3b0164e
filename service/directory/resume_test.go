package directory_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// put waits until the session has written the node.
func put(t *testing.T, n *directory.Node, data string) {
	t.Helper()
	realtest.Eventually(t, 20*time.Second, func() error { return n.Put([]byte(data)) })
}

// next is the session of the next image of a process, as it gets it.
func next(t *testing.T, cfg directory.Config, before *directory.Saved) *directory.Session {
	t.Helper()
	data, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var saved *directory.Saved
	if err := json.Unmarshal(data, &saved); err != nil || saved == nil || saved.ID == 0 || len(saved.Password) != 16 {
		t.Fatalf("saved as %s, %v", data, err)
	}
	s := newSession(cfg)
	s.Resume(saved)
	return s
}

// A session goes from one image of the process to the next and the one after: the node
// stays the same one, its watchers hear of its data alone, and credentials count.
func TestResume(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	cfg := directory.Config{
		Servers: []string{z.Addr()}, SessionTimeout: 20 * time.Second, ACL: directory.ACLDigest, Auth: "turn:secret",
		StateFile: filepath.Join(t.TempDir(), "sessions"),
	}
	s := run(t, cfg)
	put(t, s.Node("/turn/servers/a", never), "1")
	c := z.Client(t)
	_, first, err := c.Exists("/turn/servers/a")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		_, _, heard, err := c.GetW("/turn/servers/a")
		if err != nil {
			t.Fatal(err)
		}
		saved := s.Save()
		s.Vanish()
		s = next(t, cfg, saved)
		if end := start(t, s); i < 2 {
			defer end()
		} else {
			t.Cleanup(end)
		}
		put(t, s.Node("/turn/servers/a", never), fmt.Sprint(i))
		if e := <-heard; e.Type != zk.EventNodeDataChanged {
			t.Errorf("a watcher heard %v, want only that the data has changed", e.Type)
		}
		_, stat, err := c.Exists("/turn/servers/a")
		if err != nil || stat.Czxid != first.Czxid || stat.EphemeralOwner != first.EphemeralOwner || stat.Version != first.Version+int32(i)+1 {
			t.Errorf("image %d: the node is %+v (%v), was %+v", i, stat, err, first)
		}
	}
}

// left is what an image leaves that has written a node and was gone then, as by an exec.
func left(t *testing.T, cfg directory.Config) *directory.Saved {
	t.Helper()
	s := run(t, cfg)
	put(t, s.Node("/turn/servers/a", never), "1")
	saved := s.Save()
	s.Vanish()
	return saved
}

// goOn is the session of the next image, which runs until the test is over.
func goOn(t *testing.T, cfg directory.Config, before *directory.Saved) *directory.Session {
	t.Helper()
	s := next(t, cfg, before)
	t.Cleanup(start(t, s))
	return s
}

// An image that is gone before ZooKeeper has answered hands on what it was handed.
func TestResumeUnanswered(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	cfg := directory.Config{Servers: []string{z.Addr()}, SessionTimeout: 20 * time.Second, ACL: directory.ACLOpen}
	first := left(t, cfg)
	third := goOn(t, cfg, next(t, cfg, first).Save())
	put(t, third.Node("/turn/servers/a", never), "2")
	if now := third.Save(); now.ID != first.ID {
		t.Errorf("session %x, was %x", now.ID, first.ID)
	}
}

// The library goes on with the session by itself when the connection is lost later.
func TestResumeReconnects(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	cfg := directory.Config{Servers: []string{z.Addr()}, SessionTimeout: time.Minute, ACL: directory.ACLOpen}
	first := left(t, cfg)
	second := goOn(t, cfg, first)
	node := second.Node("/turn/servers/a", never)
	put(t, node, "2")
	z.Restart()
	put(t, node, "3")
	if after := second.Save(); after.ID != first.ID {
		t.Errorf("session %x, was %x", after.ID, first.ID)
	}
}

// Nobody waits for a session that is over.
func TestResumeExpired(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	cfg := directory.Config{Servers: []string{z.Addr()}, SessionTimeout: 2 * time.Second, ACL: directory.ACLOpen}
	first := left(t, cfg)
	c := z.Client(t)
	realtest.Eventually(t, 20*time.Second, func() error {
		found, _, err := c.Exists("/turn/servers/a")
		if found {
			err = errors.New("the session still lives")
		}
		return err
	})
	second := goOn(t, cfg, first)
	put(t, second.Node("/turn/servers/a", never), "2")
	if now := second.Save(); now.ID == first.ID {
		t.Errorf("session %x has expired and is still used", now.ID)
	}
}
