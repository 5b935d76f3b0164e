package main

import (
	"io"
	"strconv"
	"strings"
	"unicode"
)

// plain writes text in which strangers have had a say, as a server by its certificate or
// a process on our port by its name: what a terminal would act on is shown instead.
type plain struct{ io.Writer }

// Write implements io.Writer. No character may be cut in two.
func (p plain) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.Writer, visible(string(b))); err != nil {
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
		if acts(c) {
			b.WriteString(strings.Trim(strconv.QuoteRune(c), "'"))
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}
