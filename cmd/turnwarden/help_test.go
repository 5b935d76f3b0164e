package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// TestHelp: every command has help that ends with examples, and every flag in those is
// one of the command's.
func TestHelp(t *testing.T) {
	help := func(args ...string) string {
		var out, errs bytes.Buffer
		if code := command(append(args, "--help"), nil, &out, &errs, nil); code != 0 || errs.Len() > 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, errs.String())
		}
		return out.String()
	}
	commands := regexp.MustCompile(`(?m)^([a-z-]+)( .*)?$`)
	_, list, _ := strings.Cut(help(), "\nCommands:\n")
	found := 0
	for _, m := range commands.FindAllStringSubmatch(list, -1) {
		name := m[1]
		if name == "help" {
			continue
		}
		found++
		text := help(name)
		flags, shown, ok := strings.Cut(text, "Examples:\n")
		if !ok {
			t.Errorf("%s has no examples", name)
		}
		for line := range strings.Lines(shown) {
			if !strings.Contains(line, "turnwarden "+name) {
				continue
			}
			_, words, _ := strings.Cut(line, "turnwarden "+name)
			for w := range strings.FieldsSeq(words) {
				if flag, _, _ := strings.Cut(w, "="); strings.HasPrefix(flag, "-") && !strings.Contains(strings.ReplaceAll(flags, "[no-]", ""), flag) {
					t.Errorf("%s: no flag %s", name, flag)
				}
			}
		}
	}
	if found < 8 {
		t.Errorf("%d commands in\n%s", found, list)
	}
}
