package dashboards_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/dashboards"
)

func TestWrite(t *testing.T) {
	for name, test := range map[string]struct {
		options dashboards.Options
		runbook string
	}{
		"as they are":  {dashboards.Options{}, dashboards.RunbookBaseURL + "#turnserverdown\n"},
		"own runbooks": {dashboards.Options{RunbookBaseURL: "https://wiki.example.org/turn"}, " https://wiki.example.org/turn#turnserverdown\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "not", "there")
			for range 2 { // the second time over what is there
				if err := dashboards.Write(dir, test.options); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []string{
				"turnwarden-fleet.json", "turnwarden-node.json", "turnwarden-capacity.json", "turnwarden-gateway.json",
				"rules/turnwarden.rules.yml", "rules/turnwarden.alerts.yml",
				"provisioning/dashboards/turnwarden.yaml", "provisioning/datasources/prometheus.yaml", "provisioning/prometheus/prometheus.yml",
			} {
				got, err := os.ReadFile(filepath.Join(dir, want))
				if err != nil {
					t.Error(err)
					continue
				}
				committed, err := os.ReadFile(want)
				if err != nil {
					t.Fatal(err)
				}
				if want != "rules/turnwarden.alerts.yml" {
					if string(got) != string(committed) {
						t.Errorf("%s is not what is committed", want)
					}
					continue
				}
				alerts := strings.Count(string(committed), "- alert:")
				base, _, _ := strings.Cut(strings.TrimSpace(test.runbook), "#")
				if !strings.Contains(string(got), test.runbook) || strings.Count(string(got), " "+base+"#") != alerts {
					t.Errorf("not each of %d runbook_urls leads to %s:\n%s", alerts, base, got)
				}
			}
		})
	}
}

func TestWriteFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dashboards.Write(file, dashboards.Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("writing into a file: %v", err)
	}
}
