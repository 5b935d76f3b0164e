package config

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

//go:generate go test -run ^TestConfigurationDoc$ -update .

var update = flag.Bool("update", false, "rewrite docs/configuration.md")

// TestConfigurationDoc keeps the reference of all keys equal to the struct that
// reads them.
func TestConfigurationDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString(`<!-- Generated from cmd/turnwarden/config by make generate. -->
# Configuration

` + "`turnwarden run --config.file=turnwarden.yml`" + ` reads one YAML document; [that of a gateway](#the-file-of-a-gateway) is at the end. An absent key has its default. An unknown key, a value of the
wrong kind or unit and keys that contradict one another are refused, all of them at once, each with its line; exit code 2.
` + "`turnwarden check-config`" + ` does only that. Durations carry their unit (` + "`500ms`, `10s`, `24h`" + `); lists may be written as one word.

What changes in the file, or in the turnserver.conf that it names, is put in force by ` + "`turnwarden reload` or SIGHUP" + `, the same checks before anything else.
The column Reload says what a key needs: ` + "`live`" + ` is in force at once, and no call is touched; ` + "`drain`" + ` waits until turnserver is started anew, as all
of turnserver.conf does (but ` + "`realm`, `userdb` and `proc-user`" + `), which ` + "`turnwarden reload --drain` and `turnwarden restart`" + ` do when its calls have ended;
` + "`start`" + ` waits for a start of turnwarden, as TLS of the API does where it is turned on or off. What waits is named, and the exit code is 1. Credentials
that were handed out keep the lifetime that they were promised.
`)
	describeKeys(&b, reflect.TypeFor[Node](), "")
	var gateway Gateway
	setDefaults(reflect.ValueOf(&gateway).Elem())
	fmt.Fprintf(&b, "\n# The file of a gateway\n\n`turnwarden gateway --config.file=gateway.yml` reads `registry`, `gateway` and `api`. The keys of `api` are those above, but `api.listen` is `%s` by default. It is read at the start alone, and SIGHUP changes nothing; files that it names are read again when they change.\n",
		gateway.API.Listen)
	describeKeys(&b, reflect.TypeFor[FleetRegistry](), "registry.")
	describeKeys(&b, reflect.TypeFor[Picking](), "gateway.")
	const path = "../../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil || string(committed) != b.String() {
		t.Errorf("%s is not what the structs say (%v): run make generate", path, err)
	}
}

func describeKeys(b *strings.Builder, typ reflect.Type, prefix string) {
	var rows, sections []reflect.StructField
	for f := range typ.Fields() {
		if f.Type.Kind() == reflect.Struct {
			sections = append(sections, f)
		} else {
			rows = append(rows, f)
		}
	}
	if len(rows) > 0 {
		if prefix != "" {
			fmt.Fprintf(b, "\n## %s\n", strings.TrimSuffix(prefix, "."))
		}
		b.WriteString("\n| Key | Kind | Default | Reload | |\n|---|---|---|---|---|\n")
	}
	for _, f := range rows {
		fmt.Fprintf(b, "| `%s%s` | %s | %s | `%s` | %s |\n", prefix, f.Tag.Get("yaml"), kind(f), defaultOf(f), cmp.Or(f.Tag.Get("reload"), Started), f.Tag.Get("help"))
	}
	for _, f := range sections {
		describeKeys(b, f.Type, prefix+f.Tag.Get("yaml")+".")
	}
}

func kind(f reflect.StructField) string {
	k := map[reflect.Type]string{
		reflect.TypeFor[string](): "text", reflect.TypeFor[bool](): "true or false", reflect.TypeFor[int](): "whole number", reflect.TypeFor[float64](): "number",
		reflect.TypeFor[time.Duration](): "duration", reflect.TypeFor[Mbps](): "auto or Mbps", reflect.TypeFor[[]string](): "list",
	}[f.Type]
	if words := f.Tag.Get("oneof"); words != "" {
		k = "`" + strings.ReplaceAll(words, " ", "`, `") + "`"
	}
	if least := f.Tag.Get("min"); least != "" {
		k += ", at least " + least
	}
	return k
}

func defaultOf(f reflect.StructField) string {
	switch def := f.Tag.Get("default"); {
	case def != "":
		return "`" + def + "`"
	case f.Type.Kind() == reflect.Slice:
		return "`[]`"
	}
	return "none"
}
