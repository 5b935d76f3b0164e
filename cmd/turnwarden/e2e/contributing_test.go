package e2e

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWhereToChange: what CONTRIBUTING.md names is there. A name without a directory is
// beside the one before it.
func TestWhereToChange(t *testing.T) {
	t.Parallel()
	_, table, _ := strings.Cut(documents(t)["CONTRIBUTING.md"], "## Where do I change what?")
	table, _, _ = strings.Cut(table, "\nArrows:")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 || strings.HasPrefix(cells[1], "--") {
			continue
		}
		rows++
		beside := ""
		for _, m := range regexp.MustCompile("`([a-z0-9_A-Z/.-]+)`").FindAllStringSubmatch(cells[2], -1) {
			name := m[1]
			if !strings.Contains(name, "/") && !strings.Contains(name, ".") && name != "Makefile" && beside != "" {
				continue // a tag, a method
			}
			found := false
			for _, in := range []string{beside, "", "cmd/turnwarden"} {
				if info, err := os.Stat(filepath.Join("../../..", in, name)); err == nil {
					beside, found = path.Join(in, name), true
					if !info.IsDir() {
						beside = path.Dir(beside)
					}
					break
				}
			}
			if !found && strings.Contains(name, "/") {
				t.Errorf("%s: there is no %s", strings.TrimSpace(cells[1]), name)
			} else if !found && strings.HasSuffix(name, ".go") {
				if all, _ := filepath.Glob(filepath.Join("../../../service/*", name)); len(all) == 0 {
					t.Errorf("%s: there is no %s", strings.TrimSpace(cells[1]), name)
				}
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows found", rows)
	}
}
