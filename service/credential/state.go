package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
)

// File is the state file: the one place where passwords are written down, mode
// 0600, replaced atomically and synced to disk.
type File struct{ path string }

// NewFile returns the state file at path. The directory must exist, and its
// owner must hold the lock that makes this process the only writer.
func NewFile(path string) *File { return &File{path: path} }

const fileVersion = 1

type fileState struct {
	Version     int              `json:"version"`
	Node        string           `json:"node"`
	Realm       string           `json:"realm"`
	Next        uint64           `json:"next_generation"`
	KeepUntilMS int64            `json:"keep_unknown_until_ms,omitempty"`
	Generations []fileGeneration `json:"generations"`
}

type fileGeneration struct {
	ID          uint64 `json:"generation"`
	State       State  `json:"state"`
	Username    string `json:"username"`
	Password    string `json:"password"`
	Imported    bool   `json:"imported,omitempty"`
	PublishedMS int64  `json:"published_ms,omitempty"`
	ExpiresMS   int64  `json:"expires_ms,omitempty"`
}

// errNoState says that there is no state yet, as on a node's first start.
var errNoState = errors.New("no state file")

// load reads the state in realm, which may be that of a node that this host was called
// before. A file that cannot be used is moved aside to PATH.corrupt and reported as an
// error other than errNoState: users that it named may still be in clients' hands.
func (f *File) load(realm string) (fileState, error) {
	// What a process that was killed while it saved has left holds passwords, too.
	leftovers, _ := filepath.Glob(filepath.Join(filepath.Dir(f.path), "."+filepath.Base(f.path)+"*"))
	for _, path := range leftovers {
		_ = os.Remove(path)
	}
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fileState{}, errNoState
	}
	var s fileState
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err == nil {
		err = s.check(realm)
	}
	if err == nil {
		return s, nil
	}
	if renameErr := os.Rename(f.path, f.path+".corrupt"); renameErr != nil {
		return fileState{}, fmt.Errorf("unusable (%w) and not movable: %w", err, renameErr)
	}
	return fileState{}, fmt.Errorf("%w; kept as %s.corrupt", err, f.path)
}

func (s fileState) check(realm string) error {
	if s.Version != fileVersion {
		return fmt.Errorf("state file version %d, this program reads version %d", s.Version, fileVersion)
	}
	if s.Realm != realm {
		return fmt.Errorf("state file of realm %q, but this is realm %q", s.Realm, realm)
	}
	active := 0
	for _, g := range s.Generations {
		switch g.State {
		case Pending, Verified, Revoked:
		case Active, Retiring:
			if g.ExpiresMS == 0 && g.State == Active {
				return fmt.Errorf("state file: active generation %d has no expiry", g.ID)
			}
			if g.State == Active {
				active++
			}
		default:
			return fmt.Errorf("state file: generation %d is in unknown state %q", g.ID, g.State)
		}
		ours := owns(s.Node, g.Username) && len(g.Password) >= usernameRandom
		if g.Imported {
			ours = g.Username != "" && g.Password != "" && (g.State == Retiring || g.State == Revoked)
		}
		if !ours || g.ID == 0 || g.ID >= s.Next {
			return fmt.Errorf("state file: generation %d is not one of this node", g.ID)
		}
	}
	if active > 1 {
		return fmt.Errorf("state file: %d active generations", active)
	}
	return nil
}

// renamed makes the generations of a node that was called otherwise this node's to keep
// and to delete, as imported ones are: nobody else would.
func (s fileState) renamed(node string) fileState {
	s.Node, s.Generations = node, slices.Clone(s.Generations)
	for i := range s.Generations {
		g := &s.Generations[i]
		if g.Imported = true; g.State != Revoked {
			g.State = Retiring
		}
	}
	return s
}

func (f *File) save(s fileState) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := f.replace(append(data, '\n')); err != nil {
		return fmt.Errorf("write state file: %w", err)
	}
	return nil
}

// replace does not use renameio.WriteFile, which keeps the mode of a file that
// somebody made readable. The temporary file is beside the state file, for
// renameio's default is $TMPDIR, where a crash would leave passwords.
func (f *File) replace(data []byte) error {
	dirname := filepath.Dir(f.path)
	t, err := renameio.NewPendingFile(f.path, renameio.WithTempDir(dirname), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = t.Cleanup() }()
	if _, err := t.Write(data); err != nil {
		return err
	}
	if err := t.CloseAtomicallyReplace(); err != nil {
		return err
	}
	// The rename itself is on disk only when the directory is.
	dir, err := os.Open(dirname)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
