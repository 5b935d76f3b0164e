package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/turnwarden/turnwarden"

const (
	slicesOfTheDomain = "coturn credential directory doctor fleet probe registry supervisor systemd traffic userdb userdb/sqlite userdb/turnadmin"
	roomsOfTheDomain  = "calls drain gateway journal node"
)

// arrows has for each package the packages of this module that it may import; a word
// alone is a package of service/.
func arrows() map[string]string {
	domain := "service " + slicesOfTheDomain
	parts := "coturn credential directory probe registry supervisor traffic userdb"
	return map[string]string{
		"cmd/turnwarden":          "cmd/turnwarden/cli cmd/turnwarden/daemon service supervisor",
		"cmd/turnwarden/cli":      "cmd/turnwarden/config cmd/turnwarden/host dashboards transport transport/admin " + domain,
		"cmd/turnwarden/daemon":   "cmd/turnwarden/config cmd/turnwarden/handover cmd/turnwarden/host cmd/turnwarden/upgrade metrics transport transport/admin transport/gate transport/web " + roomsOfTheDomain + " " + domain,
		"cmd/turnwarden/upgrade":  "cmd/turnwarden/handover cmd/turnwarden/host service node supervisor transport/admin transport/gate",
		"cmd/turnwarden/host":     "cmd/turnwarden/config cmd/turnwarden/handover metrics transport transport/gate calls drain node " + domain,
		"cmd/turnwarden/handover": "calls drain node service " + parts,
		"cmd/turnwarden/config":   "coturn directory probe registry transport",
		"cmd/turnwarden/e2e":      "",

		"transport":                 "service transport/gate transport/sse",
		"transport/admin":           "service transport",
		"transport/web":             "service transport transport/web/page",
		"transport/web/page":        "transport/sse",
		"transport/gate":            "",
		"transport/sse":             "",
		"metrics":                   "service",
		"dashboards":                "",
		"transport/transporttest":   "metrics service node realtest " + parts + " fleet",
		"service/userdb/userdbtest": "realtest userdb userdb/sqlite userdb/turnadmin",
		"service/calls/callstest":   "coturn",

		// The model imports no room, and a room no other but those below it.
		"service":         "coturn credential directory fleet probe registry supervisor traffic",
		"service/node":    "service calls " + parts,
		"service/drain":   "service supervisor",
		"service/gateway": "service coturn directory fleet",
		"service/calls":   "service coturn",
		"service/journal": "service",

		// A slice imports no sibling but directory; a database what all of them are.
		"service/coturn": "", "service/credential": "", "service/directory": "", "service/doctor": "", "service/probe": "",
		"service/supervisor": "", "service/systemd": "", "service/realtest": "", "service/userdb": "",
		"service/fleet": "directory", "service/registry": "directory", "service/traffic": "directory",
		"service/userdb/sqlite": "userdb", "service/userdb/turnadmin": "userdb",
	}
}

const (
	mostFiles = 20  // of a package, without tests
	mostLines = 300 // of a file that is no test
)

// longFiles are longer, each with the reason.
func longFiles() map[string]string {
	return map[string]string{
		"service/credential/rotator.go": "one goroutine takes every step of a generation; its steps are read in their order",
		"service/realtest/chromium.go":  "the one client of the browser's protocol that the tests have",
	}
}

// TestArrows: packages import what the table allows and nothing else, and no package and
// no file is long without a reason.
func TestArrows(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}:{{len .GoFiles}}:{{join .Imports \" \"}}:{{.Dir}}:{{join .GoFiles \" \"}}", "./...")
	cmd.Dir = "../.."
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, said.String())
	}
	table, long := arrows(), longFiles()
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 5)
		pkg := strings.TrimPrefix(fields[0], module+"/")
		may, known := table[pkg]
		if !known {
			t.Errorf("%s is not in the table: say what it may import", pkg)
			continue
		}
		delete(table, pkg)
		var allowed []string
		for word := range strings.FieldsSeq(may) {
			if top, _, _ := strings.Cut(word, "/"); !slices.Contains([]string{"cmd", "service", "transport", "metrics", "dashboards"}, top) {
				word = "service/" + word
			}
			allowed = append(allowed, module+"/"+word)
		}
		for path := range strings.FieldsSeq(fields[2]) {
			if strings.HasPrefix(path, module+"/") && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s: declare a small interface there, and let the daemon pass the part in", pkg, strings.TrimPrefix(path, module+"/"))
			}
		}
		files := strings.Fields(fields[4])
		if len(files) > mostFiles {
			t.Errorf("%s has %d files, more than %d: it is two ideas", pkg, len(files), mostFiles)
		}
		for _, name := range files {
			text, err := os.ReadFile(filepath.Join(fields[3], name))
			if err != nil {
				t.Fatal(err)
			}
			file := pkg + "/" + name
			if n := bytes.Count(text, []byte("\n")); (n > mostLines) != (long[file] != "") {
				t.Errorf("%s has %d lines; the most are %d, and more need a reason in longFiles: %q", file, n, mostLines, long[file])
			}
		}
	}
	for pkg := range table {
		t.Errorf("%s is in the table and nowhere else", pkg)
	}
}
