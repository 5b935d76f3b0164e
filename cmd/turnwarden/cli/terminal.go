package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/transport/admin"
)

// passingEvery is how often a log, where nothing can be replaced, is told how a wait goes.
const passingEvery = 30 * time.Second

// printer shows the steps of a request: a line each, of which a passing one is replaced
// by the next on a terminal, and mostly left out elsewhere.
type printer struct {
	out      io.Writer
	terminal bool
	open     bool // a passing line stands there without its end
	said     time.Time
}

func newPrinter(out io.Writer) *printer {
	return &printer{out: out, said: time.Now(), terminal: IsTerminal(out)}
}

// IsTerminal says whether a person looks on.
func IsTerminal(w io.Writer) bool {
	f, ok := acting(w).(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// printJSON is for programs, and for people who look at what they would get.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (p *printer) print(s admin.Step) {
	took := time.Duration(s.Seconds * float64(time.Second)).Round(100 * time.Microsecond)
	if took > time.Minute {
		took = took.Round(time.Second)
	}
	outcome := "ok"
	switch {
	case s.Passing && !p.terminal && time.Since(p.said) < passingEvery:
		return
	case s.Passing:
		took, outcome = took.Round(time.Second), "..."
	case s.Error != "":
		outcome = "FAILED: " + s.Error
	}
	if p.open {
		fmt.Fprint(acting(p.out), "\r\x1b[K")
	}
	fmt.Fprintf(sanitized{acting(p.out)}, "%-10s %-60s %10v  %s", inLine(s.Step), inLine(s.Detail), took, inLine(outcome))
	p.open, p.said = s.Passing && p.terminal, time.Now()
	if !p.open {
		fmt.Fprintln(p.out)
	}
}

// end leaves the terminal at the begin of a line.
func (p *printer) end() {
	if p.open {
		fmt.Fprintln(p.out)
	}
}

// answer asks, and returns what is said. A signal says nothing, and neither does a script.
func answer(ctx context.Context, stdin io.Reader, stdout io.Writer, question string) string {
	fmt.Fprint(stdout, question)
	line := make(chan string, 1)
	go func() { // which ends with the process, if nothing is said
		text, _ := bufio.NewReader(stdin).ReadString('\n')
		line <- strings.TrimSpace(text)
	}()
	select {
	case text := <-line:
		return text
	case <-ctx.Done():
		fmt.Fprintln(stdout)
		return ""
	}
}
