package dashboards

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The parts of a test file of promtool.
type (
	testFile struct {
		RuleFiles []string   `yaml:"rule_files"`
		Interval  string     `yaml:"evaluation_interval"`
		Tests     []testCase `yaml:"tests"`
	}
	testCase struct {
		Interval string       `yaml:"interval"`
		Series   []testSeries `yaml:"input_series"`
		Queries  []testQuery  `yaml:"promql_expr_test"`
	}
	testSeries struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	testQuery struct {
		Expr    string       `yaml:"expr"`
		At      string       `yaml:"eval_time"`
		Samples []testSample `yaml:"exp_samples"`
	}
	testSample struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	}
)

// run has promtool evaluate the shipped rules and the queries on the series.
func (f testFile) run(t *testing.T) {
	t.Helper()
	for _, name := range []string{"rules/turnwarden.rules.yml", "rules/turnwarden.alerts.yml"} {
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		f.RuleFiles = append(f.RuleFiles, path)
	}
	content, err := yaml.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "test", "rules", name)
}

// chosen puts what Grafana would put for the variables.
var chosen = variablesOf("turnwarden")

func variablesOf(job string) *strings.Replacer {
	return strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$__interval", "1m", "$job", job, "$instance", ".+", "$horizon", "2592000")
}

// needsHistory are the queries that 45 minutes cannot answer; TestHistory does.
func needsHistory(expr string) bool { return strings.Contains(expr, "offset 7d") }

// TestPanelsReturnData evaluates every query of every panel on two nodes and two
// gateways that export the golden expositions: a metric, a label or a recorded name
// that does not exist, and vectors that do not match, show as a panel without data.
// Two, because N-1 and group_right need them.
func TestPanelsReturnData(t *testing.T) {
	test := testCase{Interval: "1m"}
	jobs := map[string]string{ofNode: "turnwarden", ofGateway: "turnwarden-gateway"}
	for file, job := range jobs {
		for _, instance := range []string{"a:1", "b:1"} {
			test.Series = append(test.Series, exports(t, file, fmt.Sprintf("job=%q,instance=%q", job, instance))...)
		}
	}
	for _, d := range generated() {
		put := variablesOf(jobs[about(d)])
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if needsHistory(q.Expr) {
					continue
				}
				test.Queries = append(test.Queries, testQuery{
					Expr:    "(count(" + put.Replace(q.Expr) + ") > bool 0) or vector(0)",
					At:      "45m",
					Samples: []testSample{{"{}", 1}},
				})
			}
		}
	}
	if len(test.Queries) < 80 {
		t.Fatalf("only %d queries", len(test.Queries))
	}
	testFile{Interval: "1m", Tests: []testCase{test}}.run(t)
}

// exports are the series of a target that exports the exposition and counts on.
func exports(t *testing.T, file, target string) []testSeries {
	t.Helper()
	all := []testSeries{{"up{" + target + "}", "1x90"}}
	for _, s := range golden(t, file) {
		labels := target
		if s.labels != "" {
			labels += "," + s.labels
		}
		values := s.value + "x90"
		if s.counter {
			v, err := strconv.ParseFloat(s.value, 64)
			if err != nil {
				t.Fatal(err)
			}
			values = fmt.Sprintf("0+%gx90", v+1)
		}
		all = append(all, testSeries{s.name + "{" + labels + "}", values})
	}
	return all
}
