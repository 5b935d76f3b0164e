package metrics_test

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

//go:generate go test -run ^TestGolden|TestMetricsDoc$ -update .

// TestMetricsDoc keeps docs/metrics.md equal to the golden exposition.
func TestMetricsDoc(t *testing.T) {
	golden, err := os.Open("testdata/metrics.prom")
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	var b strings.Builder
	b.WriteString(`<!-- Generated from metrics/testdata/metrics.prom by make generate. -->
# Metrics

Names and labels are API: a change of one is a [CHANGE] in the changelog. Rates in ` + "`_bytes_per_second`" + ` are bytes; times 8 they are bits.
No label ever holds a user, a peer or a session.

| Metric | Type | Labels | |
|---|---|---|---|
`)
	var name, help, kind string
	var labels []string
	row := func() {
		if strings.HasPrefix(name, "turnwarden_") {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, kind, strings.Join(labels, ", "), help)
		}
		labels = nil
	}
	s := bufio.NewScanner(golden)
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
