package sqlite

import (
	"context"
	"fmt"

	"github.com/turnwarden/turnwarden/service/userdb"
)

// Secrets stores the shared secrets of a turnserver that runs with
// use-auth-secret. It reads them at each login, so that any number are valid at
// once and a change counts from the next login on; sessions that have logged in
// go on (measured with coturn 4.6.1).
//
// coturn's table turn_secret has a realm and a value, and no name. So the name
// is in the value, where it costs nothing: it is no secret, and what follows it is
// as long as before. Rows of another form are the operator's or another program's,
// and are neither listed nor touched.
type Secrets struct{ db DB }

// NewSecrets returns the store of the secrets in db. Like SQLite it writes with
// the sqlite3 program, SQL on its stdin: turnadmin would take the secret that
// makes every password as an argument, readable by every user of the host.
func NewSecrets(db DB) *Secrets { return &Secrets{db: db} }

// Put stores a secret, or replaces the one of that name.
func (s *Secrets) Put(ctx context.Context, name, secret string) error {
	if err := userdb.CheckWord("name of the secret", name); err != nil {
		return err
	}
	if err := userdb.CheckWord("secret", secret); err != nil {
		return err
	}
	value := userdb.SharedSecret(name, secret)
	statements := fmt.Sprintf("BEGIN IMMEDIATE; DELETE %[1]s INSERT INTO turn_secret (realm, value) VALUES (%[2]s, %[3]s); COMMIT; SELECT value %[1]s",
		s.rows(name), quote(s.db.Realm), quote(value))
	if err := s.db.change(ctx, statements, value); err != nil {
		return fmt.Errorf("store secret %s: %w", name, err)
	}
	return nil
}

// Delete removes the secret of that name; it is no error if there is none.
func (s *Secrets) Delete(ctx context.Context, name string) error {
	if err := userdb.CheckWord("name of the secret", name); err != nil {
		return err
	}
	if err := s.db.change(ctx, fmt.Sprintf("DELETE %[1]s SELECT value %[1]s", s.rows(name))); err != nil {
		return fmt.Errorf("delete secret %s: %w", name, err)
	}
	return nil
}

// List returns the names of all secrets of the realm that have one.
func (s *Secrets) List(ctx context.Context) ([]string, error) {
	names, err := s.db.sql(ctx, fmt.Sprintf("SELECT DISTINCT substr(value, %[1]d, instr(substr(value, %[1]d), ':') - 1) AS name FROM turn_secret WHERE realm = %[2]s AND value GLOB '%[3]s[A-Za-z0-9_.]*:?*' ORDER BY name;",
		len(userdb.SecretTag)+1, quote(s.db.Realm), userdb.SecretTag))
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", s.db.explain(ctx, err))
	}
	return names, nil
}

// rows names the row of a secret in an SQL statement. The name ends at the colon,
// which none can hold.
func (s *Secrets) rows(name string) string {
	begin := userdb.SharedSecret(name, "")
	return fmt.Sprintf("FROM turn_secret WHERE realm = %s AND substr(value, 1, %d) = %s;", quote(s.db.Realm), len(begin), quote(begin))
}
