package sqlite_test

import (
	"crypto/hmac"
	"crypto/sha1" // The TURN REST API and coturn know no other hash.
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/userdbtest"
)

func TestSecretsLeaveForeignRows(t *testing.T) {
	db := userdbtest.Prepared(t)
	s := sqlite.NewSecrets(sqlite.DB{File: db})
	for _, value := range []string{"operators", "tw-0123456789-abc:def", "*", "turnwarden:", "turnwarden:x", "turnwarden:x:", "turnwarden::x:y", "Turnwarden:x:y"} {
		userdbtest.SQL(t, db.Path, fmt.Sprintf("INSERT INTO turn_secret VALUES ('%s', '%s');", userdbtest.Realm, value))
	}
	userdbtest.WantUsers(t, s)
	before := userdbtest.SQL(t, db.Path, "SELECT value FROM turn_secret ORDER BY value;")
	names := []string{"a_b", "axb", "tw-0123456789-abc"}
	for _, name := range names {
		userdbtest.Check(t, s.Put(t.Context(), name, "secret"))
	}
	userdbtest.WantUsers(t, s, names...)
	userdbtest.Check(t, s.Delete(t.Context(), "a_b"))
	userdbtest.WantUsers(t, s, names[1:]...)
	for _, name := range names {
		userdbtest.Check(t, s.Delete(t.Context(), name))
	}
	if after := userdbtest.SQL(t, db.Path, "SELECT value FROM turn_secret ORDER BY value;"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// A user's password is good as long as the secret it was made with is stored.
func TestSecretsServe(t *testing.T) {
	r := realtest.StartTurnServer(t, realtest.TurnOptions{Open: true, Lines: []string{"use-auth-secret"}})
	s := sqlite.NewSecrets(sqlite.DB{File: userdb.File{Path: r.Database, Realm: realtest.Realm}})
	username := fmt.Sprintf("%d:alice", time.Now().Add(time.Hour).Unix())
	login := func(name, secret string) *realtest.TurnClient {
		mac := hmac.New(sha1.New, []byte(userdb.SharedSecret(name, secret)))
		mac.Write([]byte(username))
		return realtest.NewTurnClient(t, "udp", r.Addr.String(), username, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	userdbtest.Check(t, s.Put(t.Context(), "old", "first"))
	userdbtest.Check(t, login("old", "first").Allocate(0))
	userdbtest.Check(t, login("new", "second").Allocate(stun.CodeUnauthorized))
	userdbtest.Check(t, s.Put(t.Context(), "new", "second"))
	running := login("old", "first")
	userdbtest.Check(t, running.Allocate(0))
	userdbtest.Check(t, login("new", "second").Allocate(0))

	userdbtest.Check(t, s.Delete(t.Context(), "old"))
	userdbtest.Check(t, login("old", "first").Allocate(stun.CodeUnauthorized))
	userdbtest.Check(t, login("new", "second").Allocate(0))
	userdbtest.Check(t, running.Refresh(0)) // a deleted secret ends no call
}
