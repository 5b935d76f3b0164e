package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/calls/callstest"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// userdb is a userdb and the TURN server that reads it. A change takes its time.
type userdb struct {
	mu    sync.Mutex
	users map[string]string
	takes time.Duration
}

func (u *userdb) Put(_ context.Context, username, password string) error {
	time.Sleep(u.takes)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users[username] = password
	return nil
}

func (u *userdb) Delete(_ context.Context, username string) error {
	time.Sleep(u.takes)
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.users, username)
	return nil
}

func (u *userdb) List(context.Context) ([]string, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.users)), nil
}

func (u *userdb) Allocate(_ context.Context, username, password string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.users[username] != password {
		return credential.ErrRefused
	}
	return nil
}

func (u *userdb) size() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.users)
}

// operated is a node with two generations that were handed out, of which each has a call.
type operated struct {
	*node.Node
	db       *userdb
	calls    *callstest.CLI
	old, new service.Credential // alice's, and bob's from the second generation
	steps    []service.Step
}

// operate runs a test in a bubble. Its parts end with it.
func operate(t *testing.T, mode coturn.Mode, test func(t *testing.T, o *operated)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		logger := slog.New(slog.DiscardHandler)
		o := &operated{
			Node: node.New(node.Facts{Mode: mode}, logger),
			db:   &userdb{users: map[string]string{}}, calls: &callstest.CLI{Lag: 5 * time.Millisecond},
		}
		rotator := credential.New(credential.Config{Node: "turn-1", Realm: realtest.Realm, Lifetime: 24 * time.Hour, RotateEvery: 12 * time.Hour},
			o.db, o.db, credential.NewFile(filepath.Join(dir, "credentials.json")), func() {}, logger, credential.Metrics{
				Rotations: discard.NewCounter(), Failures: discard.NewCounter(), Transitions: discard.NewCounter(), TransitionFailures: discard.NewCounter(),
			})
		sweeper := calls.NewSweeper(o.calls, logger, discard.NewCounter())
		o.Join(node.Parts{Credentials: rotator, Sweeper: sweeper})
		go func() { _ = rotator.Run(t.Context()) }()
		go func() { _ = sweeper.Run(t.Context()) }()
		synctest.Wait()
		o.old = o.fetch(t, "alice")
		o.calls.Add("1", o.old.Username)
		if err := o.Rotate(t.Context(), "test", o.report); err != nil || o.said() != "prove: generation 2\npublish: generation 2" {
			t.Fatalf("rotate: %v; said:\n%s", err, o.said())
		}
		o.steps = nil
		o.new = o.fetch(t, "bob")
		o.calls.Add("2", o.new.Username)
		test(t, o)
	})
}

func (o *operated) fetch(t *testing.T, id string) service.Credential {
	t.Helper()
	c, err := o.Credential(t.Context(), service.CredentialRequest{UserID: id})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (o *operated) report(s service.Step) { o.steps = append(o.steps, s) }

// said is what the operator reads, a step a line, without the time of the last sweep.
func (o *operated) said() string {
	var lines []string
	for _, s := range o.steps {
		detail, _, _ := strings.Cut(s.Detail, "; swept")
		line := s.Name + ": " + detail
		if s.Err != nil {
			line += " FAILED " + s.Err.Error()
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestRevoke(t *testing.T) {
	type request func(o *operated) service.RevokeRequest
	all := func(r service.RevokeRequest) request { return func(*operated) service.RevokeRequest { return r } }
	const (
		one   = "delete: generation 1\nrefused: generation 1\n"
		two   = "successor: generation 3\ndelete: generation 2\nrefused: generation 2\n"
		both  = "successor: generation 3\ndelete: generation 2\ndelete: generation 1\nrefused: generation 2\nrefused: generation 1\n"
		every = "secret: whoever knew it can claim any name: every call ends\n"
	)
	for name, c := range map[string]struct {
		mode  coturn.Mode
		ask   request
		said  string
		left  string // calls
		valid int    // generations
		err   string
	}{
		"a generation":        {coturn.ModeUser, all(service.RevokeRequest{Generation: 1}), one + "calls: 1 ended, none left", "2", 1, ""},
		"the active one":      {coturn.ModeUser, all(service.RevokeRequest{Generation: 2}), two + "calls: 1 ended, none left", "1", 2, ""},
		"all":                 {coturn.ModeUser, all(service.RevokeRequest{All: true}), both + "calls: 2 ended, none left", "", 1, ""},
		"all, calls kept":     {coturn.ModeUser, all(service.RevokeRequest{All: true, KeepCalls: true}), strings.TrimSpace(both), "1 2", 1, ""},
		"a user":              {coturn.ModeUser, func(o *operated) service.RevokeRequest { return service.RevokeRequest{User: o.old.Username} }, one + "calls: 1 ended, none left", "2", 1, ""},
		"an unknown user":     {coturn.ModeUser, all(service.RevokeRequest{User: "nobody"}), "", "1 2", 2, `no generation has the username "nobody"`},
		"another generation":  {coturn.ModeUser, all(service.RevokeRequest{Generation: 9}), "", "1 2", 2, "no generation 9 is on record"},
		"nothing":             {coturn.ModeUser, all(service.RevokeRequest{Wait: true}), "", "1 2", 2, "nothing named: say which generation, which user, or all"},
		"a secret":            {coturn.ModeSecret, all(service.RevokeRequest{Generation: 1}), one + every + "calls: 2 ended, none left", "", 1, ""},
		"all secrets":         {coturn.ModeSecret, all(service.RevokeRequest{All: true}), both + every + "calls: 2 ended, none left", "", 1, ""},
		"secrets, calls kept": {coturn.ModeSecret, all(service.RevokeRequest{All: true, KeepCalls: true}), strings.TrimSpace(both), "1 2", 1, ""},
		"a name": {
			coturn.ModeSecret, all(service.RevokeRequest{User: "alice"}),
			"secret: stays valid: whoever knows it can claim any name, and alice's own credential works until its expiry\ncalls: 1 ended, none left", "2", 2, "",
		},
		"the end of a name":     {coturn.ModeSecret, all(service.RevokeRequest{User: "ice"}), "secret: stays valid: whoever knows it can claim any name, and ice's own credential works until its expiry\ncalls: 0 ended, none left", "1 2", 2, ""},
		"a name, calls kept":    {coturn.ModeSecret, all(service.RevokeRequest{User: "alice", KeepCalls: true}), "", "1 2", 2, "nothing to do"},
		"nothing of the secret": {coturn.ModeSecret, all(service.RevokeRequest{}), "", "1 2", 2, "nothing named"},
	} {
		t.Run(name, func(t *testing.T) {
			operate(t, c.mode, func(t *testing.T, o *operated) {
				began := time.Now()
				err := o.Revoke(t.Context(), c.ask(o), "test", o.report)
				if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				if lines(o.said()) != lines(c.said) {
					t.Errorf("said:\n%s\nwant:\n%s", o.said(), c.said)
				}
				if o.calls.IDs() != c.left || len(o.db.users) != c.valid {
					t.Errorf("calls left %q, want %q; %d generations left, want %d", o.calls.IDs(), c.left, len(o.db.users), c.valid)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("took %v", took)
				}
				o.fetch(t, "carol") // nobody is left without
			})
		})
	}
}

// lines sorts what was said: generations are taken in no promised order.
func lines(said string) string {
	l := strings.Split(said, "\n")
	slices.Sort(l)
	return strings.Join(l, "\n")
}

func TestRevokeWaits(t *testing.T) {
	operate(t, coturn.ModeUser, func(t *testing.T, o *operated) {
		began := time.Now()
		time.AfterFunc(40*time.Second, func() { o.calls.Add("3", o.old.Username) })
		err := o.Revoke(t.Context(), service.RevokeRequest{Generation: 1, Wait: true}, "test", o.report)
		if took := time.Since(began); err != nil || took < 65*time.Second || took > 67*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if said := o.said(); !strings.HasSuffix(said, "\ncalls: 1 ended, none left\nsweep: 1 more ended") || o.calls.IDs() != "2" {
			t.Errorf("left %s, said:\n%s", o.calls.IDs(), said)
		}
	})
}

// TestRevokeThatCannotEndCalls: the credential is dead all the same, and the operator
// is told that its calls are not.
func TestRevokeThatCannotEndCalls(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		lag  time.Duration
		took time.Duration
		want string
		said string
	}{
		"no CLI":      {coturn.ErrNoCLI, 0, 0, "coturn.cli is false", "0 ended, others may go on"},
		"a slow one":  {errors.New("list sessions: timeout"), 0, 10 * time.Second, "list sessions: timeout", "0 ended, others may go on"},
		"never ended": {nil, time.Hour, 10 * time.Second, "sessions are left after 10s", "1 ended, others may go on"},
	} {
		t.Run(name, func(t *testing.T) {
			operate(t, coturn.ModeUser, func(t *testing.T, o *operated) {
				o.calls.Err, o.calls.Lag = c.err, c.lag
				began := time.Now()
				err := o.Revoke(t.Context(), service.RevokeRequest{Generation: 1, Wait: true}, "test", o.report)
				if err == nil || !strings.Contains(err.Error(), c.want) || c.err != nil && !errors.Is(err, c.err) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took < c.took || took > c.took+time.Second {
					t.Errorf("took %v", took)
				}
				if said := o.said(); !strings.HasSuffix(said, "calls: "+c.said+" FAILED "+err.Error()) || strings.Contains(said, "none left") {
					t.Errorf("said:\n%s", said)
				}
				if len(o.db.users) != 1 {
					t.Error("the credential is valid")
				}
				time.Sleep(2 * time.Hour) // for the timers of the fake
			})
		})
	}
}

// TestRevokeGoesOn: who hangs up is not told the rest, and calls end all the same.
func TestRevokeGoesOn(t *testing.T) {
	operate(t, coturn.ModeUser, func(t *testing.T, o *operated) {
		o.calls.Err = errors.New("list sessions: timeout")
		ctx, hangUp := context.WithTimeout(t.Context(), 3*time.Second)
		defer hangUp()
		began := time.Now()
		err := o.Revoke(ctx, service.RevokeRequest{Generation: 1}, "test", o.report)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		o.calls.Fail(nil)
		time.Sleep(2 * time.Second)
		if o.calls.IDs() != "2" {
			t.Errorf("left %s", o.calls.IDs())
		}
	})
}

// TestRevokeThatHasToWaitGoesOn: who hangs up before it could begin has revoked, too.
func TestRevokeThatHasToWaitGoesOn(t *testing.T) {
	operate(t, coturn.ModeUser, func(t *testing.T, o *operated) {
		o.db.takes = 5 * time.Second
		go func() { _ = o.Rotate(t.Context(), "another", func(service.Step) {}) }()
		synctest.Wait()
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second)
		defer hangUp()
		err := o.Revoke(ctx, service.RevokeRequest{Generation: 1}, "test", func(service.Step) {})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(15 * time.Second)
		if _, there := o.db.users[o.old.Username]; there || o.calls.IDs() != "2" {
			t.Errorf("the user is there: %v; calls left: %s", there, o.calls.IDs())
		}
	})
}

// TestSlowRevokeOfSecrets: however long the store takes, a call whose name was made
// of the successor goes on through the whole sweep, and no other does.
func TestSlowRevokeOfSecrets(t *testing.T) {
	operate(t, coturn.ModeSecret, func(t *testing.T, o *operated) {
		o.db.takes = 9 * time.Second
		done := make(chan error, 1)
		go func() {
			done <- o.Revoke(t.Context(), service.RevokeRequest{All: true, Wait: true}, "test", o.report)
		}()
		good := map[string]bool{}
		for i := range 80 { // the successor is there after 9 s, the sweep begins after 27 s
			time.Sleep(time.Second)
			id := fmt.Sprint("named", i)
			c := o.fetch(t, id)
			o.calls.Add(id, c.Username)
			o.calls.Add(fmt.Sprint("forged", i), fmt.Sprintf("%d:forged%d", c.Expires.Unix(), i))
			if c.Generation == 3 {
				good[id] = true
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(good) < 70 {
			t.Errorf("only %d names were made of the successor", len(good))
		}
		for id := range strings.FieldsSeq(o.calls.IDs()) {
			if !good[id] {
				t.Errorf("%s goes on", id)
			}
			delete(good, id)
		}
		if len(good) > 0 {
			t.Errorf("ended, though their names were made of the successor: %v", slices.Sorted(maps.Keys(good)))
		}
	})
}

// TestUsersInSecretMode: turnserver refuses every user there, so that there is nothing to
// take over, and nothing to prune that would matter.
func TestUsersInSecretMode(t *testing.T) {
	operate(t, coturn.ModeSecret, func(t *testing.T, o *operated) {
		before := o.db.size()
		c := credential.Imported{Username: "monitor", Password: "x", Expires: time.Now().Add(time.Hour)}
		importErr := o.Import(t.Context(), c, "test", o.report)
		_, listErr := o.Users(t.Context())
		pruneErr := o.Prune(t.Context(), []string{"monitor"}, "test", o.report)
		for _, err := range []error{importErr, listErr, pruneErr} {
			if err == nil || !strings.Contains(err.Error(), "credentials.mode is secret") {
				t.Errorf("%v, want why not", err)
			}
		}
		if o.db.size() != before || len(o.steps) > 0 {
			t.Errorf("something was done: %s", o.said())
		}
	})
}

// TestImportRefusesWords that no store could write again, should the row be lost.
func TestImportRefusesWords(t *testing.T) {
	operate(t, coturn.ModeUser, func(t *testing.T, o *operated) {
		for _, c := range []credential.Imported{{Username: "two words", Password: "x"}, {Username: "x", Password: "two words"}} {
			c.Expires = time.Now().Add(time.Hour)
			if err := o.Import(t.Context(), c, "test", o.report); err == nil || strings.Contains(err.Error(), "two words") {
				t.Errorf("%v: %v", c.Username, err)
			}
		}
		c := credential.Imported{Username: "monitor", Password: "x", Expires: time.Now().Add(time.Hour)}
		if err := o.Import(t.Context(), c, "test", o.report); err != nil || o.said() != "record: generation 3\nstore: generation 3\nprove: generation 3" {
			t.Errorf("%v; said:\n%s", err, o.said())
		}
	})
}
