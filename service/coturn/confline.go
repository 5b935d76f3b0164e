package coturn

import (
	"strings"
)

// confLine is one option as coturn reads it.
type confLine struct {
	number      int
	name, value string
	text        string // as the operator wrote it, without the blanks around it
}

// Option is one line of a turnserver.conf, as coturn cuts it.
type Option struct {
	Line        int // from 1
	Name, Value string
}

// Options lists every option of a turnserver.conf, whatever ReadConf thinks of it.
func Options(data string) (all []Option) {
	number := 0
	for raw := range strings.SplitSeq(data, "\n") {
		number++
		if text := trimLine(raw); text != "" && text[0] != '#' {
			name, value := splitOption(text)
			all = append(all, Option{number, name, value})
		}
	}
	return all
}

func trimLine(raw string) string {
	return strings.TrimLeft(strings.TrimRight(raw, " \t\v\f\r"), " \t")
}

// splitOption cuts a line as coturn's parse_arg_string does: any run of blanks and
// equal signs parts name and value, and quotes around the value are dropped.
func splitOption(text string) (name, value string) {
	i := strings.IndexAny(text, " =\t")
	if i < 0 {
		return text, ""
	}
	value = strings.TrimLeft(text[i:], " =\t")
	if quoted, ok := strings.CutPrefix(value, `"`); ok {
		value = strings.TrimSuffix(quoted, `"`)
	}
	return text[:i], value
}

// harmless cuts a name where the characters of names end: in a mistyped line
// such as static-auth-secret:VALUE coturn's name goes on into the secret.
func harmless(name string) string {
	end := strings.IndexFunc(name, func(c rune) bool {
		return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
	if end >= 0 {
		name = name[:end]
	}
	return name
}
