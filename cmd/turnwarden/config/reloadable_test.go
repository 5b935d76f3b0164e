package config

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
			case !slices.Contains([]string{Live, Drained, Started}, kind):
				t.Errorf("%s: found reload %q", key, kind)
			}
		}
	}
	walk(reflect.TypeFor[Node](), "")
}

func loaded(t *testing.T, text string) Node {
	t.Helper()
	path := filepath.Join(t.TempDir(), "turnwarden.yml")
	if err := os.WriteFile(path, []byte("node: turn-1\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadNode(path)
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
		"live":        {"", "probe: {interval: 6s}\nregistry: {region: eu}", map[string]string{Live: "registry.region probe.interval"}},
		"each kind":   {"coturn: {cli: false}", "probe: {timeout: 1s}\nadmin: {socket: other.sock}", map[string]string{Live: "probe.timeout", Drained: "coturn.cli", Started: "admin.socket"}},
		"other files": {"api: {tls: {cert_file: a, key_file: b}}", "api: {tls: {cert_file: c, key_file: b}}", map[string]string{Live: "api.tls.cert_file"}},
		"TLS on":      {"", "api: {tls: {cert_file: a, key_file: b}}", map[string]string{Started: "api.tls.cert_file api.tls.key_file"}},
		"TLS off":     {"api: {tls: {cert_file: a, key_file: b}}", "", map[string]string{Started: "api.tls.cert_file api.tls.key_file"}},
	} {
		from, to := loaded(t, c.from), loaded(t, c.to)
		for _, kind := range []string{Live, Drained, Started} {
			if got := strings.Join(Changed(from, to, kind), " "); got != c.want[kind] {
				t.Errorf("%s: %s: %q, want %q", name, kind, got, c.want[kind])
			}
			only := Take(from, to, kind)
			for _, k := range []string{Live, Drained, Started} {
				got, want := strings.Join(Changed(from, only, k), " "), ""
				if k == kind {
					want = c.want[kind]
				}
				if got != want {
					t.Errorf("%s: taken %s: %s %q, want %q", name, kind, k, got, want)
				}
			}
		}
		if diff := cmp.Diff(to, Take(from, to, Live, Drained, Started)); diff != "" {
			t.Errorf("%s: all taken (-want +got):\n%s", name, diff)
		}
	}
}
