package directory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
)

// memory knows the sessions this node has had, also before a restart: a node that one
// of them owns is our own leftover and no rival.
type memory struct {
	file string
	mu   sync.Mutex
	ids  []int64
}

// remembered is how many sessions are kept. A node outlives its session only by the
// session timeout, so this is plenty even for a restart loop.
const remembered = 32

// recall reads the state file. It always returns a memory that can be used.
func recall(file string) (*memory, error) {
	m := &memory{file: file}
	if file == "" {
		return m, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read sessions: %w", err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		id, err := strconv.ParseUint(word, 16, 64)
		if err != nil {
			return m, fmt.Errorf("read sessions: %s: %q is no session id", file, word)
		}
		m.ids = append(m.ids, int64(id))
	}
	return m, nil
}

func (m *memory) has(id int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.ids, id)
}

func (m *memory) add(id int64) error {
	if m.has(id) {
		return nil // it goes on after an upgrade
	}
	m.mu.Lock()
	m.ids = append(m.ids, id)
	m.ids = m.ids[max(0, len(m.ids)-remembered):]
	var text []byte
	for _, id := range m.ids {
		text = fmt.Appendf(text, "%x\n", uint64(id))
	}
	m.mu.Unlock()
	if m.file == "" {
		return nil
	}
	if err := renameio.WriteFile(m.file, text, 0o600); err != nil {
		return fmt.Errorf("write sessions: %w", err)
	}
	return nil
}
