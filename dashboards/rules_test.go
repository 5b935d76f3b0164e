package dashboards

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/turnwarden/turnwarden/service/realtest"
)

type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func ruleFile(t *testing.T, name string) []rule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	readYAML(t, name, &file)
	var all []rule
	for _, g := range file.Groups {
		if len(g.Rules) > 20 {
			t.Errorf("group %s has %d rules: they are evaluated one after another", g.Name, len(g.Rules))
		}
		all = append(all, g.Rules...)
	}
	return all
}

func readYAML(t *testing.T, name string, to any) {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, to); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	realtest.Require(t, "promtool")
	if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRules(t *testing.T) {
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", "rules/turnwarden.rules.yml", "rules/turnwarden.alerts.yml")
	tests, err := filepath.Glob("rules/*.test.yml")
	if err != nil || len(tests) == 0 {
		t.Fatalf("%d tests of rules, %v", len(tests), err)
	}
	promtool(t, append([]string{"test", "rules"}, tests...)...)
}

func TestPrometheusExample(t *testing.T) {
	promtool(t, "check", "config", "provisioning/prometheus/prometheus.yml")
}

// cases tells, for each alert, whether some test has it fire and some test has it
// stay silent.
func cases(t *testing.T) (fires, silent map[string]bool) {
	t.Helper()
	fires, silent = map[string]bool{}, map[string]bool{}
	names, err := filepath.Glob("rules/*.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		var file struct {
			Tests []struct {
				Alerts []struct {
					Name string `yaml:"alertname"`
					Exp  []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		readYAML(t, name, &file)
		for _, test := range file.Tests {
			for _, a := range test.Alerts {
				if len(a.Exp) > 0 {
					fires[a.Name] = true
				} else {
					silent[a.Name] = true
				}
			}
		}
	}
	return fires, silent
}

func TestAlerts(t *testing.T) {
	runbooks, err := os.ReadFile("../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	fires, silent := cases(t)
	alerts := ruleFile(t, "rules/turnwarden.alerts.yml")
	for _, a := range alerts {
		if !regexp.MustCompile(`^Turn[A-Za-z]+$`).MatchString(a.Alert) || len(a.Alert) > 40 {
			t.Errorf("%s: want a name of one word that begins with Turn", a.Alert)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		if s := a.Annotations["summary"]; !regexp.MustCompile(`^[A-Z][^{]+\.$`).MatchString(s) {
			t.Errorf("%s: summary %q is no fixed sentence", a.Alert, s)
		}
		if d := a.Annotations["description"]; !strings.HasSuffix(d, ".") || a.Alert != "TurnwardenAbsent" && !strings.Contains(d, "{{") {
			t.Errorf("%s: description %q says neither what nor where", a.Alert, d)
		}
		if want := RunbookBaseURL + "#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %q, want %q", a.Alert, a.Annotations["runbook_url"], want)
		}
		if !fires[a.Alert] || !silent[a.Alert] {
			t.Errorf("%s: tested to fire: %v, to stay silent: %v", a.Alert, fires[a.Alert], silent[a.Alert])
		}
		_, section, _ := strings.Cut(string(runbooks), "\n## "+a.Alert+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		for _, part := range []string{"**Meaning.**", "**Impact.**", "**Look.**", "**Mend.**", "```"} {
			if !strings.Contains(section, part) {
				t.Errorf("docs/runbooks.md: %s has no %s", a.Alert, part)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^## (Turn\w+)$`).FindAllStringSubmatch(string(runbooks), -1) {
		if !slices.ContainsFunc(alerts, func(a rule) bool { return a.Alert == m[1] }) {
			t.Errorf("docs/runbooks.md: there is no alert %s", m[1])
		}
	}
}
