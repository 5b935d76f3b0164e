package dashboards

import (
	"fmt"
	"os"
	"strings"
)

// readme is the committed README: what precedes the tables is written by hand
// and kept, the tables are the panels.
func readme() ([]byte, error) {
	committed, err := os.ReadFile("README.md")
	if err != nil {
		return nil, err
	}
	text, _, _ := strings.Cut(string(committed), "\n## turnwarden / ")
	var b strings.Builder
	b.WriteString(text)
	for _, d := range []dashboard{fleet(), node(), capacity(), gateway()} {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| Panel | |\n|---|---|\n", d.Title, d.Description)
		for _, p := range d.Panels {
			if p.Type == "row" {
				fmt.Fprintf(&b, "| **%s** | |\n", p.Title)
			} else {
				fmt.Fprintf(&b, "| %s | %s |\n", p.Title, p.Description)
			}
		}
	}
	return []byte(b.String()), nil
}
