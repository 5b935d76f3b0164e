package cli

import (
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/transport/admin"
)

// TestChoose: whatever pattern is given, it names users or none.
func TestChoose(t *testing.T) {
	users := []admin.User{{Name: "alice"}, {Name: "a/b"}, {Name: "a\nb"}, {Name: "a.c"}, {Name: "tw-1", Ours: true}}
	for pattern, want := range map[string]string{
		"a*": "alice a/b a\nb a.c", "a?b": "a/b a\nb", "a.c": "a.c", "a[": "", `\`: "", "\xff": "", "\xff*": "", "": "", "*": "alice a/b a\nb a.c",
	} {
		chosen, _ := choose(users, []string{pattern})
		var names []string
		for _, u := range chosen {
			names = append(names, u.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	}
}
