package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test -run ^TestConfigurationFiles$ -update .

// TestConfigurationFiles keeps the files that the packages install equal to the structs that
// read them: every key is there, commented out, with its default and what it means.
func TestConfigurationFiles(t *testing.T) {
	testConfigurationFile(t, "turnwarden.yml", "", LoadNode, `
# The configuration of turnwarden run: every key with its default. What is wrong with this file
# or with turnserver.conf is said by
#   turnwarden check-config --config.file=/etc/turnwarden/turnwarden.yml
# systemctl reload turnwarden applies what it can, and names what waits.
`)
	testConfigurationFile(t, "gateway.yml", "registry: {zookeeper: [zk1]}", LoadGateway, `
# The configuration of turnwarden gateway: every key with its default. registry.zookeeper is the
# one it cannot do without. What is wrong with this file is said by
#   turnwarden check-config --config.file=/etc/turnwarden/gateway.yml
`)
}

func testConfigurationFile[T any](t *testing.T, name, least string, load func(string) (T, error), head string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Generated from the keys of cmd/turnwarden by make generate." + head + "\n")
	var defaults T
	setDefaults(reflect.ValueOf(&defaults).Elem())
	commentKeys(&b, reflect.ValueOf(&defaults).Elem(), "")
	path := "../../../deploy/" + name
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil || string(committed) != b.String() {
		t.Errorf("%s is not what the configuration's struct says (%v): run make generate", path, err)
	}

	parse := func(what, content string) T {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := load(path)
		if err != nil {
			t.Errorf("%s %s: %v", name, what, err)
		}
		return c
	}
	want := parse("with what it cannot do without", least)
	installed := b.String()
	if least != "" {
		installed = strings.Replace(installed, "  #zookeeper: []", "  zookeeper: [zk1]", 1)
	}
	if diff := cmp.Diff(want, parse("as it is installed", installed)); diff != "" {
		t.Errorf("%s as it is installed is not the defaults:\n%s", name, diff)
	}
	// A name that is empty is no name, so that this key cannot show its default.
	said := regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`).ReplaceAllString(strings.Replace(installed, "#node: \"\"\n", "", 1), "$1$2")
	if diff := cmp.Diff(want, parse("with every key uncommented", said)); diff != "" {
		t.Errorf("%s with every key uncommented is not the defaults:\n%s", name, diff)
	}
}

// commentKeys writes the keys of v, commented out below the names of their sections.
func commentKeys(b *strings.Builder, v reflect.Value, indent string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		if f.Type.Kind() == reflect.Struct {
			fmt.Fprintf(b, "\n%s%s:\n", indent, name)
			commentKeys(b, v.Field(i), indent+"  ")
			continue
		}
		line := indent + "#"
		for word := range strings.FieldsSeq(f.Tag.Get("help") + " (" + strings.ReplaceAll(kind(f), "`", "") + ")") {
			if len(line)+len(word) > 98 {
				b.WriteString(line + "\n")
				line = indent + "#"
			}
			line += " " + word
		}
		fmt.Fprintf(b, "%s\n%s#%s: %s\n", line, indent, name, written(v.Field(i)))
	}
}

// written is a value as the file has it.
func written(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case string:
		if value == "" {
			return `""`
		}
		return value
	case []string:
		return "[" + strings.Join(value, ", ") + "]"
	case time.Duration:
		return regexp.MustCompile(`([a-z])0[ms].*`).ReplaceAllString(value.String(), "$1") // 24h rather than 24h0m0s
	case Mbps:
		return "auto" // the one default
	default:
		return fmt.Sprint(value)
	}
}
