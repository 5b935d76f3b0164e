package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/turnwarden/turnwarden/"

// arrows are the packages of this module that a package may import; a trailing * stands for
// all that begin so. A slice that is not named imports directory alone.
var arrows = map[string]string{
	"cmd/turnwarden":            "cmd/turnwarden/cli cmd/turnwarden/daemon service service/supervisor",
	"cmd/turnwarden/cli":        "cmd/turnwarden/config cmd/turnwarden/host dashboards service* transport transport/admin",
	"cmd/turnwarden/daemon":     "cmd/turnwarden/config cmd/turnwarden/handover cmd/turnwarden/host cmd/turnwarden/upgrade metrics service* transport*",
	"cmd/turnwarden/upgrade":    "cmd/turnwarden/handover cmd/turnwarden/host service service/node service/supervisor transport/admin transport/gate",
	"cmd/turnwarden/host":       "cmd/turnwarden/config cmd/turnwarden/handover service* transport transport/gate",
	"cmd/turnwarden/handover":   "service*",
	"cmd/turnwarden/config":     "service/coturn service/directory service/probe service/registry transport",
	"cmd/turnwarden/e2e":        "",
	"transport":                 "service transport/gate transport/sse",
	"transport/admin":           "service transport",
	"transport/web":             "service transport transport/web/page",
	"transport/web/page":        "transport/sse",
	"transport/gate":            "",
	"transport/sse":             "",
	"transport/transporttest":   "metrics service*",
	"metrics":                   "service",
	"dashboards":                "",
	"service":                   "service/coturn service/credential service/directory service/fleet service/probe service/registry service/supervisor service/traffic",
	"service/node":              "service service/calls service/coturn service/credential service/directory service/probe service/registry service/supervisor service/traffic service/userdb",
	"service/drain":             "service service/supervisor",
	"service/gateway":           "service service/coturn service/directory service/fleet",
	"service/calls":             "service service/coturn",
	"service/calls/callstest":   "service/coturn",
	"service/journal":           "service",
	"service/userdb/sqlite":     "service/userdb",
	"service/userdb/turnadmin":  "service/userdb",
	"service/userdb/userdbtest": "service/realtest service/userdb*",
}

const (
	mostFiles = 20
	mostLines = 300
)

// long are the files that have more lines, and why.
var long = map[string]string{
	"service/credential/rotator.go": "one state machine, of which each turn has to be read with the others",
	"service/drain/run.go":          "one step for each phase of the table in phase.go",
	"service/realtest/chromium.go":  "one protocol, for tests",
}

// TestHouse: packages import what they may, and neither they nor their files are large.
func TestHouse(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...")
	cmd.Dir = "../../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Dir  string
			Imports, GoFiles []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		may, named := arrows[name]
		if !named {
			may = "service/directory"
		}
		for _, i := range p.Imports {
			if to, ours := strings.CutPrefix(i, module); ours && !slices.ContainsFunc(strings.Fields(may), func(allowed string) bool {
				prefix, all := strings.CutSuffix(allowed, "*")
				return to == allowed || all && strings.HasPrefix(to, prefix)
			}) {
				t.Errorf("%s imports %s; accepted: %s", name, to, may)
			}
		}
		if n := len(p.GoFiles); n > mostFiles {
			t.Errorf("%s has %d files; accepted: %d, more is two ideas", name, n, mostFiles)
		}
		for _, f := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, []byte("\n")); n > mostLines && long[path.Join(name, f)] == "" {
				t.Errorf("%s/%s has %d lines; accepted: %d", name, f, n, mostLines)
			}
		}
	}
}

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
