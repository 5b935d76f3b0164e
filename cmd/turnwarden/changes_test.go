package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every key says what a change of it takes.
func TestReloadTags(t *testing.T) {
	var walk func(typ reflect.Type, prefix string)
	walk = func(typ reflect.Type, prefix string) {
		for f := range typ.Fields() {
			kind := f.Tag.Get("reload")
			switch key := prefix + f.Tag.Get("yaml"); {
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type, key+".")
			case !slices.Contains([]string{live, drained, started}, kind):
				t.Errorf("%s: found reload %q", key, kind)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
}

func loaded(t *testing.T, text string) Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "turnwarden.yml")
	if err := os.WriteFile(path, []byte("node: turn-1\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChanges(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		want     map[string]string // keys by kind
	}{
		"nothing":     {"probe: {interval: 5s}", "traffic: {interface: auto}", nil},
		"live":        {"", "probe: {interval: 6s}\nregistry: {region: eu}", map[string]string{live: "registry.region probe.interval"}},
		"each kind":   {"coturn: {cli: false}", "probe: {timeout: 1s}\nadmin: {socket: other.sock}", map[string]string{live: "probe.timeout", drained: "coturn.cli", started: "admin.socket"}},
		"other files": {"api: {tls: {cert_file: a, key_file: b}}", "api: {tls: {cert_file: c, key_file: b}}", map[string]string{live: "api.tls.cert_file"}},
		"TLS on":      {"", "api: {tls: {cert_file: a, key_file: b}}", map[string]string{started: "api.tls.cert_file api.tls.key_file"}},
		"TLS off":     {"api: {tls: {cert_file: a, key_file: b}}", "", map[string]string{started: "api.tls.cert_file api.tls.key_file"}},
	} {
		from, to := loaded(t, c.from), loaded(t, c.to)
		for _, kind := range []string{live, drained, started} {
			if got := strings.Join(changedKeys(from, to, kind), " "); got != c.want[kind] {
				t.Errorf("%s: %s: %q, want %q", name, kind, got, c.want[kind])
			}
			only := take(from, to, kind)
			for _, k := range []string{live, drained, started} {
				got, want := strings.Join(changedKeys(from, only, k), " "), ""
				if k == kind {
					want = c.want[kind]
				}
				if got != want {
					t.Errorf("%s: taken %s: %s %q, want %q", name, kind, k, got, want)
				}
			}
		}
		if diff := cmp.Diff(to, take(from, to, live, drained, started)); diff != "" {
			t.Errorf("%s: all taken (-want +got):\n%s", name, diff)
		}
	}
}
