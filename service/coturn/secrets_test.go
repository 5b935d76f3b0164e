package coturn_test

import (
	"crypto/hmac"
	"crypto/sha1" // The TURN REST API and coturn know no other hash.
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

func TestSecretsLeaveForeignRows(t *testing.T) {
	db := preparedUserDB(t)
	s := coturn.NewSecrets(db)
	for _, value := range []string{"operators", "tw-0123456789-abc:def", "*", "turnwarden:", "turnwarden:x", "turnwarden:x:", "turnwarden::x:y", "Turnwarden:x:y"} {
		sqlite(t, db.Path, fmt.Sprintf("INSERT INTO turn_secret VALUES ('%s', '%s');", realm, value))
	}
	wantUsers(t, s)
	before := sqlite(t, db.Path, "SELECT value FROM turn_secret ORDER BY value;")
	names := []string{"a_b", "axb", "tw-0123456789-abc"}
	for _, name := range names {
		check(t, s.Put(t.Context(), name, "secret"))
	}
	wantUsers(t, s, names...)
	check(t, s.Delete(t.Context(), "a_b"))
	wantUsers(t, s, names[1:]...)
	for _, name := range names {
		check(t, s.Delete(t.Context(), name))
	}
	if after := sqlite(t, db.Path, "SELECT value FROM turn_secret ORDER BY value;"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// A user's password is good as long as the secret it was made with is stored.
func TestSecretsServe(t *testing.T) {
	r := startRelay(t, coturn.ModeSecret, "use-auth-secret", realtest.FreePort(t, "127.0.0.1"), "s3cret")
	s := coturn.NewSecrets(r.db)
	username := fmt.Sprintf("%d:alice", time.Now().Add(time.Hour).Unix())
	login := func(name, secret string) *turnClient {
		mac := hmac.New(sha1.New, []byte(coturn.SharedSecret(name, secret)))
		mac.Write([]byte(username))
		return newTurnClient(t, "udp", r.addr, username, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	check(t, s.Put(t.Context(), "old", "first"))
	check(t, login("old", "first").allocate(0))
	check(t, login("new", "second").allocate(stun.CodeUnauthorized))
	check(t, s.Put(t.Context(), "new", "second"))
	running := login("old", "first")
	check(t, running.allocate(0))
	check(t, login("new", "second").allocate(0))

	check(t, s.Delete(t.Context(), "old"))
	check(t, login("old", "first").allocate(stun.CodeUnauthorized))
	check(t, login("new", "second").allocate(0))
	check(t, running.refresh(0)) // a deleted secret ends no call
}
