package credential

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func validState() fileState {
	g := func(id uint64, s State, published, expires int64) fileGeneration {
		m := mint("turn-1", id)
		return fileGeneration{ID: id, State: s, Username: m.Username, Password: m.Password.Reveal(), PublishedMS: published, ExpiresMS: expires}
	}
	return fileState{
		Version: 1, Node: "turn-1", Realm: "example.org", Next: 5, KeepUntilMS: 17,
		Generations: []fileGeneration{g(1, Retiring, 1000, 2000), g(2, Active, 1500, 2500), g(3, Verified, 0, 0), g(4, Pending, 0, 0)},
	}
}

func TestStateRoundTrip(t *testing.T) {
	f := NewFile(filepath.Join(t.TempDir(), "state.json"))
	if _, err := f.load("example.org"); !errors.Is(err, errNoState) {
		t.Fatalf("first load: %v, want errNoState", err)
	}
	want := validState()
	if err := f.save(want); err != nil {
		t.Fatal(err)
	}
	got, err := f.load("example.org")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("read back (-want +got):\n%s", d)
	}
	b := openBook(got, noon, time.Hour)
	for id, state := range map[uint64]State{1: Retiring, 2: Active, 3: Retiring, 4: Retiring} {
		g := b.byID(id)
		if g.State != state || g.proved || g.fetched.Load() != (id <= 2) {
			t.Errorf("generation %d is opened as %s, proved %v, fetched %v", id, g.State, g.proved, g.fetched.Load())
		}
	}
}

func TestInvariant9StateFileIsPrivate(t *testing.T) {
	dir, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	path := filepath.Join(dir, "state.json")
	// A file that somebody made readable is made private again.
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(tmp)
	if err != nil {
		t.Fatal(err)
	}
	if err := NewFile(path).save(validState()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("the state file has mode %v", info.Mode())
	}
	after, err := os.Stat(tmp)
	if err != nil {
		t.Fatal(err)
	}
	if !after.ModTime().Equal(before.ModTime()) {
		t.Error("passwords are written to TMPDIR on the way")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("a save leaves %d files", len(entries))
	}
}

func TestFailedSaveLeavesTheOldBytes(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	disk := filepath.Join(dir, "disk")
	if err := errors.Join(os.Mkdir(disk, 0o700), os.Symlink(disk, link)); err != nil {
		t.Fatal(err)
	}
	f := NewFile(filepath.Join(link, "state.json"))
	if err := f.save(validState()); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(filepath.Join(disk, "state.json"))
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := f.save(validState()); err == nil || !strings.HasPrefix(err.Error(), "write state file: ") {
		t.Fatalf("save without a directory: %v", err)
	}
	if now, _ := os.ReadFile(filepath.Join(disk, "state.json")); string(now) != string(old) {
		t.Error("a failed save changed the file")
	}
}

func TestUnusableStateIsKeptAside(t *testing.T) {
	encode := func(change func(*fileState)) func(t *testing.T, f *File) {
		return func(t *testing.T, f *File) {
			s := validState()
			change(&s)
			if err := f.save(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	text := func(s string) func(*testing.T, *File) {
		return func(t *testing.T, f *File) {
			if err := os.WriteFile(f.path, []byte(s), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		write func(*testing.T, *File)
		says  string
	}{
		"empty":             {text(""), "unexpected end of JSON"},
		"cut":               {text(`{"version":1,"node":"tu`), "unexpected end of JSON"},
		"not JSON":          {text("\x00\x00\x00"), "invalid character"},
		"another version":   {encode(func(s *fileState) { s.Version = 2 }), "version 2, this program reads version 1"},
		"another node's":    {encode(func(s *fileState) { s.Node = "turn" }), "not one of this node"},
		"another realm":     {encode(func(s *fileState) { s.Realm = "example.com" }), `realm "example.com"`},
		"two actives":       {encode(func(s *fileState) { s.Generations[0].State = Active }), "2 active generations"},
		"unknown state":     {encode(func(s *fileState) { s.Generations[0].State = "zombie" }), `unknown state "zombie"`},
		"active, no expiry": {encode(func(s *fileState) { s.Generations[1].ExpiresMS = 0 }), "no expiry"},
		"an operator's":     {encode(func(s *fileState) { s.Generations[1].Username = "alice" }), "not one of this node"},
		"no password":       {encode(func(s *fileState) { s.Generations[1].Password = "" }), "not one of this node"},
		"number used again": {encode(func(s *fileState) { s.Next = 2 }), "not one of this node"},
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFile(filepath.Join(t.TempDir(), "state.json"))
			tc.write(t, f)
			want, _ := os.ReadFile(f.path)
			_, err := f.load("example.org")
			if err == nil || errors.Is(err, errNoState) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("load: %v, want %q", err, tc.says)
			}
			if got, _ := os.ReadFile(f.path + ".corrupt"); string(got) != string(want) {
				t.Error("the unusable bytes are not kept")
			}
			if _, err := f.load("example.org"); !errors.Is(err, errNoState) {
				t.Errorf("second load: %v, want errNoState", err)
			}
		})
	}
}

// FuzzLoad feeds any bytes: what is accepted must be safe to go on from.
func FuzzLoad(f *testing.F) {
	file := NewFile(filepath.Join(f.TempDir(), "state.json"))
	if err := file.save(validState()); err != nil {
		f.Fatal(err)
	}
	seed, _ := os.ReadFile(file.path)
	f.Add(seed)
	f.Add([]byte(`{"version":1,"node":"turn-1","realm":"example.org"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := NewFile(filepath.Join(t.TempDir(), "state.json"))
		if err := os.WriteFile(file.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := file.load("example.org")
		if err != nil {
			if _, err := os.Stat(file.path + ".corrupt"); err != nil {
				t.Errorf("refused and not kept: %v", err)
			}
			return
		}
		if err := s.renamed("turn-2").check("example.org"); err != nil {
			t.Errorf("what was accepted is refused under another name: %v", err)
		}
		b := openBook(s, noon, time.Hour)
		for _, g := range b.gens {
			if g.servable(noon) {
				t.Error("served without a proof")
			}
			if !owns(s.Node, g.Username) && !g.Imported {
				t.Errorf("took over %q", g.Username)
			}
		}
		if err := b.file(s.Node, "example.org").check("example.org"); err != nil {
			t.Errorf("what was accepted is refused when saved again: %v", err)
		}
	})
}

func TestLeftoversOfAKilledSaveAreRemoved(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, ".credentials.json123456")
	if err := os.WriteFile(left, []byte("a password"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = NewFile(filepath.Join(dir, "credentials.json")).load("example.org")
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}
