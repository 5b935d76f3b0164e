package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
)

// sanitized writes text in which strangers have had a say, as a server by its certificate or
// a process on our port by its name: what a terminal would act on is shown instead, in a
// spelling that JSON has, too. All that a command prints goes through it.
type sanitized struct{ io.Writer }

// Sanitize returns a writer to w that a terminal does nothing but show.
func Sanitize(w io.Writer) io.Writer { return sanitized{w} }

// acting returns the writer for what a terminal is meant to act on.
func acting(w io.Writer) io.Writer {
	if p, ok := w.(sanitized); ok {
		return p.Writer
	}
	return w
}

// Write implements io.Writer. No character may be cut in two.
func (s sanitized) Write(b []byte) (int, error) {
	if _, err := io.WriteString(s.Writer, visible(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

func visible(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd") // a byte alone may be a control character to a terminal of old
	acts := func(c rune) bool { return c != '\n' && c != '\t' && !unicode.IsPrint(c) }
	if !strings.ContainsFunc(s, acts) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if !acts(c) {
			b.WriteRune(c)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, c) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// inLine is visible for a word of a line or a table, which it must not end.
func inLine(s string) string {
	return visible(strings.NewReplacer("\n", `\u000a`, "\t", `\u0009`).Replace(s))
}
