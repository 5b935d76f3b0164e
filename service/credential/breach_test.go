package credential_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
)

// check returns the first invariant that was found broken.
func (w *world) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == nil {
		w.broken = w.breach()
	}
	return w.broken
}

// onDisk is as much of the state file as a reader needs.
type onDisk struct {
	KeepUntilMS int64 `json:"keep_unknown_until_ms"`
	Generations []struct {
		ID       uint64           `json:"generation"`
		State    credential.State `json:"state"`
		Username string           `json:"username"`
		Password string           `json:"password"`
	} `json:"generations"`
}

func (w *world) read() (s onDisk, err error) {
	data, err := os.ReadFile(filepath.Join(w.disk, "credentials.json"))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

// breach says which invariant does not hold now.
func (w *world) breach() error {
	now := time.Now()
	there := func(user string) bool { return w.users[user] != "" || w.vanished[user] }
	// A process that dies now leaves this to the next one.
	s, err := w.read()
	for _, g := range s.Generations {
		if g.State != credential.Revoked {
			continue
		}
		if !w.asked[g.ID] && !w.asked[0] {
			return fmt.Errorf("invariant 10: generation %d is revoked, and nobody asked for it", g.ID)
		}
		w.revoked[g.Username] = true
		delete(w.lives, g.Username) // whatever was promised
	}
	if w.rot != nil {
		if err := w.breachServed(now); err != nil {
			return err
		}
	}
	for user, l := range w.lives {
		if l.held && now.Before(l.ends()) && !there(user) {
			return fmt.Errorf("invariant 3: %s is gone %v before its time", user, l.ends().Sub(now))
		}
	}
	for user := range w.strangers {
		if w.users[user] == "" {
			return fmt.Errorf("invariant 6: %s is not ours and was deleted", user)
		}
	}
	if !w.published {
		return nil
	}
	if err != nil {
		return fmt.Errorf("invariant 1: %w", err)
	}
	active, recorded := 0, map[string]bool{}
	for _, g := range s.Generations {
		recorded[g.Username] = true
		if w.revoked[g.Username] && g.State != credential.Revoked {
			return fmt.Errorf("invariant 10: generation %d was revoked and is %s", g.ID, g.State)
		}
		if g.State == credential.Active {
			active++
			if !there(g.Username) {
				return fmt.Errorf("invariant 1: the active generation on disk has no user")
			}
		}
	}
	if active != 1 {
		return fmt.Errorf("invariant 1: %d active generations on disk", active)
	}
	for user := range w.revoked {
		if w.users[user] != "" && !recorded[user] {
			return fmt.Errorf("invariant 10: %s was revoked, is there and not on record", user)
		}
	}
	for user, l := range w.lives {
		if l.held && !l.lost && now.Before(l.ends()) && !recorded[user] {
			return fmt.Errorf("invariant 5: %s is in a client's hands and not on record", user)
		}
	}
	return nil
}

func (w *world) breachServed(now time.Time) error {
	active := 0
	for _, g := range w.rot.Status().Generations {
		if g.State == credential.Active {
			active++
		}
	}
	if active > 1 {
		return fmt.Errorf("invariant 1: %d active generations", active)
	}
	c, ok := w.rot.Peek()
	if !ok {
		if l := w.lives[w.serving]; l != nil && now.Before(l.wall) && now.Before(l.mono) {
			return fmt.Errorf("invariant 4: nothing is handed out, %v before the last one expires", earlier(l.wall, l.mono).Sub(now))
		}
		return nil
	}
	l := w.see(c)
	switch {
	case w.revoked[c.Username]:
		return fmt.Errorf("invariant 10: generation %d is handed out although it was revoked", c.Generation)
	case !w.proved[c.Username]:
		return fmt.Errorf("invariant 2: generation %d is handed out unproved", c.Generation)
	case !c.Expires.After(now):
		return fmt.Errorf("invariant 4: generation %d is handed out %v after it expired", c.Generation, now.Sub(c.Expires))
	case !c.Expires.Equal(l.wall):
		return fmt.Errorf("invariant 3: the expiry of generation %d moved by %v", c.Generation, c.Expires.Sub(l.wall))
	case w.users[c.Username] != c.Password.Reveal() && !w.vanished[c.Username]:
		return fmt.Errorf("invariant 1: generation %d is handed out and has no user", c.Generation)
	}
	return nil
}
