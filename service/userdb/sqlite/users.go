package sqlite

import (
	"context" // RFC 8489 section 9.2.2 defines the long-term key with it.
	"fmt"

	"github.com/turnwarden/turnwarden/service/userdb"
)

// Users stores users by writing coturn's own row with the sqlite3 program, SQL
// on its stdin: no password and no key is ever in an argument list. A running
// turnserver sees the row at its next request.
type Users struct{ db DB }

// NewUsers returns the store of db's users that needs no turnadmin.
func NewUsers(db DB) *Users { return &Users{db: db} }

// Put stores a user, or replaces the password of one.
func (s *Users) Put(ctx context.Context, username, password string) error {
	if err := userdb.CheckUser(username, password); err != nil {
		return err
	}
	key := s.db.Key(username, password)
	insert := fmt.Sprintf("INSERT OR REPLACE INTO turnusers_lt (realm, name, hmackey) VALUES (%s, %s, '%s');", quote(s.db.Realm), quote(username), key)
	if err := s.db.change(ctx, insert+"SELECT hmackey "+s.db.row(username), key); err != nil {
		return fmt.Errorf("store the user: %w", err)
	}
	return nil
}

// Delete removes a user; it is no error if there is none.
func (s *Users) Delete(ctx context.Context, username string) error {
	if err := userdb.CheckName(username); err != nil {
		return err
	}
	if err := s.db.change(ctx, "DELETE "+s.db.row(username)+"SELECT hmackey "+s.db.row(username)); err != nil {
		return fmt.Errorf("delete the user: %w", err)
	}
	return nil
}

// List returns the names of all users of the realm.
func (s *Users) List(ctx context.Context) ([]string, error) { return s.db.List(ctx) }

// List returns the names of all users of the realm.
func (db DB) List(ctx context.Context) ([]string, error) {
	names, err := db.sql(ctx, fmt.Sprintf("SELECT name FROM turnusers_lt WHERE realm = %s ORDER BY name;", quote(db.Realm)))
	if err != nil {
		return nil, fmt.Errorf("list users: %w", db.explain(ctx, err))
	}
	return names, nil
}

// Keys returns what is stored of one user.
func (db DB) Keys(ctx context.Context, username string) ([]string, error) {
	return db.sql(ctx, "SELECT hmackey "+db.row(username))
}

// row names the one row of a user in an SQL statement.
func (db DB) row(username string) string {
	return fmt.Sprintf("FROM turnusers_lt WHERE realm = %s AND name = %s;", quote(db.Realm), quote(username))
}
