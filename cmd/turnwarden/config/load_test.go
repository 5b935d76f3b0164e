package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMistakes: all mistakes of a file are named at once, by line, with what is accepted.
func TestMistakes(t *testing.T) {
	node := func(path string) error { _, err := LoadNode(path); return err }
	gateway := func(path string) error { _, err := LoadGateway(path); return err }
	for name, c := range map[string]struct {
		load func(string) error
		text string
		want string // without the path
	}{
		"a node":    {node, "node: turn-1", ""},
		"a gateway": {gateway, "registry: {zookeeper: zk1}", ""},
		"several": {
			node, "traffic: {interval: fast}\nprobe: 7\nnode: a b",
			`:1: traffic.interval: found "fast"; accepted: a duration with its unit, such as 500ms, 10s or 24h, at least 1s
:2: probe: found "7"; accepted: a mapping with the keys interval, timeout, fail_after, allow_targets
:3: node: found "a b"; accepted: letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit`,
		},
		"keys that contradict": {
			node, "credentials:\n  lifetime: 1h\n  rotate_every: 2h",
			":3: credentials.rotate_every: found 2h0m0s; accepted: less than credentials.lifetime (1h0m0s), or a client gets a credential that has already ended",
		},
		"a key of the other file": {gateway, "registry: {zookeeper: zk1}\nnode: a", ":2: node: found a key of turnwarden run; accepted: the keys registry, gateway, api"},
		"a key that is missing":   {gateway, "", ": registry.zookeeper: found nothing; accepted: the ZooKeeper servers where the nodes are registered"},
		"a second document":       {node, "node: a\n---\nnode: b", ": found a second YAML document; accepted: one document in the file"},
	} {
		path := file(t, c.text)
		got := ""
		if err := c.load(path); err != nil {
			got = strings.ReplaceAll(err.Error(), path, "")
		}
		if got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// TestIsGateway: a file is a gateway's by its section, and one that cannot be read is not.
func TestIsGateway(t *testing.T) {
	for text, want := range map[string]bool{"gateway: {}": true, "registry: {}\ngateway:": true, "node: gateway": false, "": false, "[gateway]": false, "{": false} {
		if got := IsGateway(file(t, text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	if IsGateway("/nowhere") {
		t.Error("no file is a gateway's")
	}
}

// TestExposed: an address that others can reach is exposed unless callers are told apart.
func TestExposed(t *testing.T) {
	for name, c := range map[string]struct {
		api  API
		want bool
	}{
		"loopback":   {API{Listen: "127.0.0.1:1", AllowUnauthenticated: true}, false},
		"open":       {API{Listen: "0.0.0.0:1", AllowUnauthenticated: true}, true},
		"tokens":     {API{Listen: "0.0.0.0:1", AllowUnauthenticated: true, TokensFile: "tokens"}, false},
		"refused":    {API{Listen: "0.0.0.0:1"}, false},
		"some hosts": {API{Listen: "0.0.0.0:1", AllowUnauthenticated: true, AllowCIDRs: []string{"10.0.0.0/8"}}, false},
	} {
		if got := c.api.Exposed(); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
