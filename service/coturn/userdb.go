package coturn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// programLimit bounds one run of turnadmin or sqlite3, which take some 20 ms:
// a hanging one must not stop the rotation of credentials for ever.
const programLimit = 10 * time.Second

// UserDB is the sqlite file in which turnserver looks up its long-term users.
// Whatever reads or writes it runs as turnserver's own uid, so that the -wal
// and -shm files beside it stay turnserver's to write.
type UserDB struct {
	Path  string              // as in turnserver.conf: userdb=
	Realm string              // as in turnserver.conf: realm=; no other realm's users are seen or touched
	As    *syscall.Credential // whom turnserver runs as; nil is our own uid
}

// Prepare makes the database ready for a turnserver that is about to start: it
// creates the file where there is none, completes coturn's schema through
// turnadmin, switches to WAL and proves that turnserver's uid can write. A file
// of a failed first attempt is removed, an existing one is kept as it is.
//
// WAL is not an option: with the rollback journal a writer makes turnserver's
// reads fail, and 29 % of valid Allocates got 401 during writes (coturn 4.6.1;
// none with WAL).
func (db UserDB) Prepare(ctx context.Context, turnadmin string) error {
	if err := CheckTurnadmin(turnadmin); err != nil {
		return err
	}
	if err := CheckSQLite(); err != nil {
		return err
	}
	created, err := db.create()
	if err != nil {
		return err
	}
	err = db.complete(ctx, turnadmin)
	if err != nil && created {
		for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
			_ = os.Remove(db.Path + suffix)
		}
	}
	return err
}

// CheckTurnadmin says whether the program is there.
func CheckTurnadmin(turnadmin string) error {
	if _, err := exec.LookPath(turnadmin); err != nil {
		return fmt.Errorf("turnadmin cannot be run: %w: install the package coturn or set coturn.turnadmin to its path", err)
	}
	return nil
}

// CheckSQLite says whether sqlite3 is there, a dependency of Debian's coturn.
func CheckSQLite() error {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		return fmt.Errorf("sqlite3 cannot be run: %w: install the package sqlite3", err)
	}
	return nil
}

// Check says whether Prepare would have a database to work with, and creates none.
func (db UserDB) Check(ctx context.Context) error {
	if _, err := os.Stat(db.Path); errors.Is(err, fs.ErrNotExist) {
		return db.checkDirectory(ctx)
	}
	if err := db.writable(ctx); err != nil {
		return err
	}
	return db.hasSchema(ctx)
}

// create makes an empty file and reports whether it did. The mode is set here
// and not by an umask, which is the whole process's: a row's key is as good as
// the password.
func (db UserDB) create() (bool, error) {
	f, err := os.OpenFile(db.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		if fi, err := os.Stat(db.Path); err == nil && !fi.Mode().IsRegular() {
			return false, fmt.Errorf("userdb %s is not a file (%v): give userdb= in turnserver.conf the path of a file", db.Path, fi.Mode())
		}
		return false, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("directory %s of the userdb does not exist: create it, owned by uid %d", filepath.Dir(db.Path), db.uid())
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
		return false, fmt.Errorf("give userdb to uid %d: %w", db.uid(), err)
	}
	return true, nil
}

// complete creates what is missing of the schema, as turnserver too does at
// every start, and judges the result, because turnadmin exits 0 whatever it
// finds. It has to run alone: of eight first runs in parallel none stored its
// row, and five of the eight tables were missing.
func (db UserDB) complete(ctx context.Context, turnadmin string) error {
	if err := db.writable(ctx); err != nil {
		return err
	}
	// -L lists the web admins: the shortest of the commands that open the file.
	if _, err := db.turnadmin(ctx, turnadmin, "-L", "-b", db.Path); err != nil {
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

func (db UserDB) hasSchema(ctx context.Context) error {
	rows, err := db.sql(ctx, `SELECT count(*) FROM pragma_table_info('turnusers_lt') WHERE (name, pk) IN (VALUES ('realm', 1), ('name', 2), ('hmackey', 0));`)
	if err != nil {
		return db.explain(ctx, err)
	}
	if !slices.Equal(rows, []string{"3"}) {
		return fmt.Errorf("userdb %s lacks coturn's table turnusers_lt (realm, name, hmackey): move the file away, a new one is then created, or correct userdb= in turnserver.conf", db.Path)
	}
	return nil
}

// writable proves that a row could be written now, or says why not.
func (db UserDB) writable(ctx context.Context) error {
	_, err := db.sql(ctx, "BEGIN IMMEDIATE; CREATE TABLE turnwarden_proof (x); ROLLBACK;")
	return db.explain(ctx, err)
}

// explain turns what sqlite3 said into what to do about it.
func (db UserDB) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	switch said := err.Error(); {
	case strings.Contains(said, "unable to open database"), strings.Contains(said, "readonly database"):
		// SQLite has one answer for the file and for its directory, and only
		// the uid in question can tell them apart.
		if err := db.checkDirectory(ctx); err != nil {
			return err
		}
		return fmt.Errorf("userdb %s cannot be read and written by uid %d: chown it to that uid, mode 0600", db.Path, db.uid())
	case strings.Contains(said, "file is not a database"):
		return fmt.Errorf("userdb %s is not an sqlite database: move the file away, a new one is then created, or correct userdb= in turnserver.conf", db.Path)
	case strings.Contains(said, "database is locked"):
		return fmt.Errorf("userdb %s is locked by another program for more than %v: end that program (fuser -v %[1]s names it)", db.Path, busyTimeout)
	case strings.Contains(said, "disk I/O error"), strings.Contains(said, "disk is full"):
		return fmt.Errorf("userdb %s: its disk is full or broken, make room: %w", db.Path, err)
	}
	return err
}

func (db UserDB) checkDirectory(ctx context.Context) error {
	dir := filepath.Dir(db.Path)
	if db.command(ctx, "test", "-w", dir, "-a", "-x", dir).Run() != nil {
		return db.directoryUnwritable()
	}
	return nil
}

func (db UserDB) directoryUnwritable() error {
	return fmt.Errorf("directory %s of the userdb cannot be written by uid %d, and SQLite keeps its -wal and -shm files there: chown it to that uid and let that pass the directories above, or move the userdb",
		filepath.Dir(db.Path), db.uid())
}

func (db UserDB) uid() uint32 {
	if db.As != nil {
		return db.As.Uid
	}
	return uint32(os.Getuid())
}

// command is one run of a helper as turnserver's uid: no shell, no environment
// to leak or to obey, a process group of its own that ends with ctx.
func (db UserDB) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: db.As}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// checkWord accepts for the name and the value of a secret what every version of
// coturn, sqlite3's GLOB and we take literally. It never quotes s, which may be secret.
func checkWord(what, s string) error {
	const accepted = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
	if s == "" || len(s) > 128 || s[0] == '-' || strings.Trim(s, accepted) != "" {
		return fmt.Errorf("%s refused: 1 to 128 of A-Z a-z 0-9 _ . - are accepted, not starting with -", what)
	}
	return nil
}

// checkLogin accepts for a username and a password what every version of coturn takes
// literally: others are refused, cut, or taken for an option. Ours are plainer, those
// that other programs have made are what they are. It never quotes s.
func checkLogin(what, s string) error {
	outside := func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("'\"`\\", c) }
	if s == "" || len(s) > 128 || s[0] == '-' || strings.ContainsFunc(s, outside) {
		return fmt.Errorf("%s refused: 1 to 128 printable characters of ASCII are accepted, no blank, quote or backslash among them, not starting with -", what)
	}
	return nil
}
