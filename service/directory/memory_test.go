package directory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions")
	m, err := recall(file)
	if err != nil {
		t.Fatalf("without a file: %v", err)
	}
	for id := range int64(remembered + 1) {
		if err := m.add(-id - 1); err != nil { // The server's own number is in the top byte.
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file %v (%v), want mode 0600", info.Mode(), err)
	}
	for what, m := range map[string]*memory{"in memory": m, "read again": must(recall(file))} {
		if !m.has(-2) || !m.has(-remembered-1) || m.has(-1) || len(m.ids) != remembered {
			t.Errorf("%s: %x, want the last %d", what, m.ids, remembered)
		}
	}
}

func TestMemoryOfAnUnreadableFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions")
	if err := os.WriteFile(file, []byte("1f\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := recall(file)
	if err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v, want one that names the file", err)
	}
	if err := m.add(2); err != nil || !m.has(2) || !must(recall(file)).has(2) {
		t.Errorf("a bad file was not replaced (%v)", err)
	}
}

func must(m *memory, err error) *memory {
	if err != nil {
		panic(err)
	}
	return m
}
