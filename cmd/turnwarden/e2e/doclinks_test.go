package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
)

// documents are all that people read here, by their path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "dashboards/*.md", "deploy/*.md", "deploy/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join("../../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all[strings.TrimPrefix(filepath.ToSlash(path), "../../../")] = string(data)
		}
	}
	if len(all) < 20 {
		t.Fatalf("%d documents found", len(all))
	}
	return all
}

// fences separates a document into its text and its blocks.
func fences(t *testing.T, path, data string) (text string, blocks []block) {
	t.Helper()
	var b strings.Builder
	inside := false
	for line := range strings.Lines(data) {
		mark, fenced := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fenced && !inside:
			blocks = append(blocks, block{path: path, kind: mark})
			inside = true
		case fenced && mark != "":
			t.Errorf("%s: a block begins within a block: %s", path, line)
		case fenced:
			inside = false
		case inside:
			blocks[len(blocks)-1].text += line
		default:
			b.WriteString(line)
		}
	}
	if inside {
		t.Errorf("%s: the last block has no end", path)
	}
	return b.String(), blocks
}

type block struct{ path, kind, text string }

// TestLinksInDocs: every link to a file or an anchor of ours leads somewhere.
func TestLinksInDocs(t *testing.T) {
	docs := documents(t)
	anchors := map[string][]string{}
	for path, data := range docs {
		text, _ := fences(t, path, data)
		for line := range strings.Lines(text) {
			if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
				anchors[path] = append(anchors[path], slug(title))
			}
		}
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	found := 0
	for path, data := range docs {
		text, _ := fences(t, path, data)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(path), file))
			}
			if _, err := os.Stat(filepath.Join("../../..", target)); err != nil {
				t.Errorf("%s: %s: no such file", path, m[1])
			} else if anchor != "" && !slices.Contains(anchors[target], anchor) {
				t.Errorf("%s: %s: no such heading", path, m[1])
			}
		}
	}
	if found < 50 {
		t.Errorf("%d links found", found)
	}
}

// slug is the anchor that GitHub makes of a heading.
func slug(title string) string {
	title = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(strings.TrimSpace(title), "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, title)
}

// notKeys look like configuration keys and are none.
var notKeys = []string{"coturn.service"}

// TestKeysInDocs: every configuration key that a document names exists.
func TestKeysInDocs(t *testing.T) {
	known := map[string]bool{}
	for prefix, typ := range map[string]reflect.Type{"": reflect.TypeFor[config.Node](), "registry.": reflect.TypeFor[config.FleetRegistry](), "gateway.": reflect.TypeFor[config.Picking]()} {
		addKeys(known, typ, prefix)
	}
	word := regexp.MustCompile("`((?:coturn|credentials|traffic|registry|probe|api|admin|gateway)\\.[a-z_]+(?:\\.[a-z_]+)*)(?:: [^`]*)?`")
	found := 0
	for path, data := range documents(t) {
		text, _ := fences(t, path, data)
		for _, m := range word.FindAllStringSubmatch(text, -1) {
			found++
			if key := m[1]; !known[key] && !strings.HasSuffix(key, ".go") && !slices.Contains(notKeys, key) {
				t.Errorf("%s: there is no key %s", path, key)
			}
		}
	}
	if found < 100 {
		t.Errorf("%d keys found", found)
	}
}

// addKeys adds the keys of a struct, and its sections.
func addKeys(known map[string]bool, typ reflect.Type, prefix string) {
	for f := range typ.Fields() {
		key := prefix + f.Tag.Get("yaml")
		known[key] = true
		if f.Type.Kind() == reflect.Struct {
			addKeys(known, f.Type, key+".")
		}
	}
}

// TestMetricsInDocs: every metric that a document names exists. What exists is in
// docs/metrics.md, which is written from the code, and in the recording rules.
func TestMetricsInDocs(t *testing.T) {
	docs := documents(t)
	rules, err := os.ReadFile("../../../dashboards/rules/turnwarden.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\bturnwarden[_:][a-z0-9_:]*[a-z0-9]\b`)
	known := map[string]bool{}
	for _, m := range name.FindAllString(docs["docs/metrics.md"]+string(rules), -1) {
		known[m] = true
	}
	found := 0
	for path, data := range docs {
		if path == "docs/metrics.md" {
			continue
		}
		for _, m := range name.FindAllString(data, -1) {
			found++
			base := m
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			// A pattern of grep names several by how they begin.
			begins := slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(k string) bool { return strings.HasPrefix(k, m+"_") && strings.Contains(data, "^"+m) })
			if !known[m] && !known[base] && !begins {
				t.Errorf("%s: there is no metric %s", path, m)
			}
		}
	}
	if found < 30 {
		t.Errorf("%d metrics found", found)
	}
}

// TestArchitectureDoc: the order of shutdown in docs/architecture.md is that of daemon/node.go.
func TestArchitectureDoc(t *testing.T) {
	code, err := os.ReadFile("../daemon/node.go")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, m := range regexp.MustCompile(`(?m)^\s*add(?:Run|Stop)?\("([a-z]+)", `).FindAllStringSubmatch(string(code), -1) {
		order = append(order, m[1])
	}
	want := strings.Join(order, " ─► ")
	if len(order) < 15 || !strings.Contains(documents(t)["docs/architecture.md"], "\n"+want+"\n") {
		t.Errorf("docs/architecture.md lacks the line that daemon/node.go says:\n%s", want)
	}
}
