package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Prepare makes the database ready for a turnserver that is about to start: it
// creates the file where there is none, has complete add what is missing of coturn's
// schema, as turnadmin does, switches to WAL and proves that turnserver's uid can write. A file
// of a failed first attempt is removed, an existing one is kept as it is.
//
// WAL is not an option: with the rollback journal a writer makes turnserver's
// reads fail, and 29 % of valid Allocates got 401 during writes (coturn 4.6.1;
// none with WAL).
func (db DB) Prepare(ctx context.Context, complete func(context.Context) error) error {
	if err := Check(); err != nil {
		return err
	}
	created, err := db.create()
	if err != nil {
		return err
	}
	err = db.complete(ctx, complete)
	if err != nil && created {
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			_ = os.Remove(db.Path + suffix)
		}
	}
	return err
}

// Check says whether sqlite3 is there, a dependency of Debian's coturn.
func Check() error {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		return fmt.Errorf("sqlite3 cannot be run: %w: install the package sqlite3", err)
	}
	return nil
}

// Check says whether Prepare would have a database to work with, and creates none.
func (db DB) Check(ctx context.Context) error {
	if _, err := os.Stat(db.Path); errors.Is(err, fs.ErrNotExist) {
		return db.checkDirectory(ctx)
	}
	if err := db.Writable(ctx); err != nil {
		return err
	}
	return db.hasSchema(ctx)
}

// create makes an empty file and reports whether it did. The mode is set here
// and not by an umask, which is the whole process's: a row's key is as good as
// the password.
func (db DB) create() (bool, error) {
	f, err := os.OpenFile(db.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		if fi, err := os.Stat(db.Path); err == nil && !fi.Mode().IsRegular() {
			return false, fmt.Errorf("userdb %s is not a file (%v): give userdb= in turnserver.conf the path of a file", db.Path, fi.Mode())
		}
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("directory %s of the userdb does not exist: create it, owned by uid %d", filepath.Dir(db.Path), db.UID())
	case errors.Is(err, fs.ErrPermission):
		return false, db.directoryUnwritable()
	case err != nil:
		return false, fmt.Errorf("create userdb: %w: correct userdb= in turnserver.conf", err)
	}
	if db.As != nil {
		err = f.Chown(int(db.As.Uid), int(db.As.Gid))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(db.Path)
		return false, fmt.Errorf("give userdb to uid %d: %w", db.UID(), err)
	}
	return true, nil
}

// complete creates what is missing of the schema, as turnserver too does at
// every start, and judges the result, because turnadmin exits 0 whatever it
// finds. It has to run alone: of eight first runs in parallel none stored its
// row, and five of the eight tables were missing.
func (db DB) complete(ctx context.Context, complete func(context.Context) error) error {
	if err := db.Writable(ctx); err != nil {
		return err
	}
	if err := complete(ctx); err != nil {
		return err
	}
	if err := db.hasSchema(ctx); err != nil {
		return err
	}
	rows, err := db.sql(ctx, "PRAGMA journal_mode=WAL;")
	if err != nil {
		return db.explain(ctx, err)
	}
	if !slices.Equal(rows, []string{"wal"}) {
		return fmt.Errorf("userdb %s stays in journal mode %q where WAL is needed: move it to a local file system", db.Path, rows)
	}
	return nil
}

func (db DB) hasSchema(ctx context.Context) error {
	rows, err := db.sql(ctx, `SELECT count(*) FROM pragma_table_info('turnusers_lt') WHERE (name, pk) IN (VALUES ('realm', 1), ('name', 2), ('hmackey', 0));`)
	if err != nil {
		return db.explain(ctx, err)
	}
	if !slices.Equal(rows, []string{"3"}) {
		return fmt.Errorf("userdb %s lacks coturn's table turnusers_lt (realm, name, hmackey): move the file away, a new one is then created, or correct userdb= in turnserver.conf", db.Path)
	}
	return nil
}

// Writable proves that a row could be written now, or says why not.
func (db DB) Writable(ctx context.Context) error {
	_, err := db.sql(ctx, "BEGIN IMMEDIATE; CREATE TABLE turnwarden_proof (x); ROLLBACK;")
	return db.explain(ctx, err)
}

func (db DB) checkDirectory(ctx context.Context) error {
	dir := filepath.Dir(db.Path)
	if db.Command(ctx, "test", "-w", dir, "-a", "-x", dir).Run() != nil {
		return db.directoryUnwritable()
	}
	return nil
}

func (db DB) directoryUnwritable() error {
	return fmt.Errorf("directory %s of the userdb cannot be written by uid %d, and SQLite keeps its -wal and -shm files there: chown it to that uid and let that pass the directories above, or move the userdb",
		filepath.Dir(db.Path), db.UID())
}
