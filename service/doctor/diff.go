package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// edit is a change of turnserver.conf: a line that goes, or one that is added at its end.
type edit struct {
	line int // to be removed; 0 = none
	add  string
}

func remove(o Option) edit { return edit{line: o.Line} }

func add(line string) edit { return edit{add: line} }

// Diff is what mends turnserver.conf as far as the findings know how, as a unified diff for
// patch; empty if there is nothing to change. Lines that hold secrets are not in it.
func Diff(c Conf, all []Finding) string {
	gone := map[int]bool{}
	var added []string
	for _, f := range all {
		for _, e := range f.edits {
			if e.line > 0 {
				gone[e.line] = true
			} else if !slices.Contains(added, e.add) {
				added = append(added, e.add)
			}
		}
	}
	if len(gone) == 0 && len(added) == 0 {
		return ""
	}
	// Without context, for the lines around may hold secrets.
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %[1]s\n", c.Path)
	for removed, n := range slices.Sorted(maps.Keys(gone)) {
		fmt.Fprintf(&b, "@@ -%d +%d,0 @@\n-%s\n", n, n-1-removed, c.Lines[n-1])
		if n == len(c.Lines) && c.Unended {
			b.WriteString("\\ No newline at end of file\n")
		}
	}
	if len(added) > 0 {
		end := len(c.Lines)
		fmt.Fprintf(&b, "@@ -%d,0 +%d,%d @@\n+%s\n", end, end-len(gone)+1, len(added), strings.Join(added, "\n+"))
	}
	return b.String()
}
