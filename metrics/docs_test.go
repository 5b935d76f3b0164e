package metrics_test

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run ^TestGolden -update .
//go:generate go test -run ^TestMetricsDoc$ -update .

// TestMetricsDoc keeps docs/metrics.md equal to the golden expositions.
func TestMetricsDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<!-- Generated from metrics/testdata/*.prom by make generate. -->
# Metrics

Names and labels are API: a change of one is a [CHANGE] in the changelog. Rates in ` + "`_bytes_per_second`" + ` are bytes; times 8 they are bits.
No label ever holds a user, a peer or a session.

## turnwarden run
`)
	describe(t, &b, golden)
	b.WriteString("\n## turnwarden gateway\n")
	describe(t, &b, gatewayGolden)
	const path = "../docs/metrics.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil || string(committed) != b.String() {
		t.Errorf("%s is not what the golden says (%v): run make generate", path, err)
	}
}

// describe writes the table of one exposition.
func describe(t *testing.T, b *strings.Builder, file string) {
	t.Helper()
	exposed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer exposed.Close()
	b.WriteString("\n| Metric | Type | Labels | |\n|---|---|---|---|\n")
	var name, help, kind string
	var labels []string
	row := func() {
		if strings.HasPrefix(name, "turnwarden_") {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, kind, strings.Join(labels, ", "), help)
		}
		labels = nil
	}
	s := bufio.NewScanner(exposed)
	for s.Scan() {
		switch text, is := strings.CutPrefix(s.Text(), "# HELP "); {
		case is:
			row()
			name, help, _ = strings.Cut(text, " ")
		case strings.HasPrefix(s.Text(), "# TYPE "):
			kind = s.Text()[strings.LastIndexByte(s.Text(), ' ')+1:]
		default:
			_, rest, _ := strings.Cut(s.Text(), "{")
			rest, _, _ = strings.Cut(rest, "}")
			for pair := range strings.SplitSeq(rest, `",`) {
				l, _, ok := strings.Cut(pair, "=")
				if ok && l != "le" && !slices.Contains(labels, l) {
					labels = append(labels, l)
				}
			}
		}
	}
	row()
}
