package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/dashboards"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// compose is as much of deploy/compose.yml as is used there: any other key is a mistake.
type compose struct {
	Name     string
	Services map[string]struct {
		Image, User     string
		Build           struct{ Context, Dockerfile string }
		NetworkMode     string    `yaml:"network_mode"`
		ExtraHosts      []string  `yaml:"extra_hosts"`
		StopGracePeriod string    `yaml:"stop_grace_period"`
		CapDrop         []string  `yaml:"cap_drop"`
		SecurityOpt     []string  `yaml:"security_opt"`
		DependsOn       yaml.Node `yaml:"depends_on"`
		Init            bool
		Restart         string
		Command         []string
		Volumes         []string
		Environment     map[string]string
		Healthcheck     struct {
			Test        []string
			Interval    string
			StartPeriod string `yaml:"start_period"`
		}
	}
	Volumes map[string]struct{}
}

// TestCompose checks what can be checked without a container engine: that every file,
// volume and service that deploy/compose.yml and deploy/Dockerfile name is there, and
// that those who are to read the files accept them at the paths where they are mounted.
func TestCompose(t *testing.T) {
	t.Parallel()
	const deploy = "../../../deploy/"
	data, err := os.ReadFile(deploy + "compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	// What `turnwarden dashboards` writes, by the volume that is mounted there.
	out := t.TempDir()
	if err := dashboards.Write(out, dashboards.Options{RunbookBaseURL: dashboards.RunbookBaseURL}); err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for _, v := range c.Services["dashboards"].Volumes {
		name, at, _ := strings.Cut(v, ":")
		written[name] = filepath.Join(out, strings.TrimPrefix(at, "/out"))
	}
	mounts := map[string]map[string]string{} // service, path in it, path here
	for name, s := range c.Services {
		mounts[name] = map[string]string{}
		for _, v := range s.Volumes {
			parts := strings.Split(v, ":")
			from := filepath.Join(deploy, parts[0])
			if _, declared := c.Volumes[parts[0]]; declared {
				from = written[parts[0]]
			} else if !exists(from) {
				t.Errorf("%s: %s: no such file or volume", name, parts[0])
			}
			mounts[name][parts[1]] = from
		}
		for _, other := range names(s.DependsOn) {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s, which is no service", name, other)
			}
		}
	}
	here := func(service, path string) string {
		t.Helper()
		for at, from := range mounts[service] {
			if rest, ok := strings.CutPrefix(path, at); ok && from != "" {
				return filepath.Join(from, rest)
			}
		}
		t.Fatalf("%s: nothing is mounted at %s", service, path)
		return ""
	}

	cfg, err := config.LoadNode(here("turnwarden", "/etc/turnwarden/turnwarden.yml"))
	if err != nil {
		t.Fatal(err)
	}
	conf, err := coturn.ReadConf(here("turnwarden", cfg.Coturn.ConfigFile), coturn.Mode(cfg.Credentials.Mode))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{cfg.Credentials.StateDir, filepath.Dir(conf.UserDB)} {
		if _, ok := mounts["turnwarden"][dir]; !ok {
			t.Errorf("%s is in no volume, and gone with the container", dir)
		}
	}
	for _, path := range []string{"/etc/grafana/provisioning/dashboards/turnwarden.yaml", "/etc/grafana/provisioning/datasources/prometheus.yaml", "/var/lib/grafana/dashboards/turnwarden/turnwarden-fleet.json"} {
		if !exists(here("grafana", path)) {
			t.Errorf("grafana has no %s", path)
		}
	}
	promtoolAccepts(t, c.Services["prometheus"].Command, func(path string) string { return here("prometheus", path) })
	if built := read(t, filepath.Join(deploy, c.Services["turnwarden"].Build.Context, c.Services["turnwarden"].Build.Dockerfile)); !strings.Contains(built, "\nRUN make build\n") {
		t.Error("the image holds something else than make build makes")
	}
}

// promtoolAccepts has promtool check the file that Prometheus is told to read, with the
// rules where they are mounted.
func promtoolAccepts(t *testing.T, command []string, here func(string) string) {
	t.Helper()
	realtest.Require(t, "promtool")
	path, ok := strings.CutPrefix(command[0], "--config.file=")
	if !ok {
		t.Fatalf("prometheus is started with %v", command)
	}
	config := regexp.MustCompile(`/etc/prometheus/rules/`).ReplaceAllStringFunc(read(t, here(path)), func(dir string) string { return here(dir) + "/" })
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.Command("promtool", "check", "config", file).CombinedOutput()
	if err != nil || strings.Count(string(output), "rules found") != 2 {
		t.Errorf("promtool: %v\n%s", err, output)
	}
}

// names are the services of depends_on, which is a list or a map.
func names(n yaml.Node) (all []string) {
	step := 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	for i := 0; i < len(n.Content); i += step {
		all = append(all, n.Content[i].Value)
	}
	return all
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
