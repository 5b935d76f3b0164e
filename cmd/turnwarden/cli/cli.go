// Package cli has the commands that ask and show: each registers itself with its flags, and
// ends at the first signal. It reads the host for doctor alone.
package cli

import (
	"context"
	"io"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
)

// Run is what a command does with stdin and stdout; the first signal ends ctx.
type Run func(ctx context.Context, in io.Reader, out io.Writer) error

// A Command registers itself and its flags, and returns its name and what it does.
type Command func(app *kingpin.Application) (name string, run Run)

// ExitError has an exit code of its own.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap implements errors.Is.
func (e *ExitError) Unwrap() error { return e.Err }

// newCommand registers a command whose help ends with examples.
func newCommand(app *kingpin.Application, name, help string, examples ...string) *kingpin.CmdClause {
	return app.Command(name, help).HelpLong("Examples:\n  " + strings.Join(examples, "\n  ") + "\n")
}

func configFlag(c *kingpin.CmdClause) *string {
	return c.Flag("config.file", "Configuration file.").Default("turnwarden.yml").String()
}

func socketFlag(c *kingpin.CmdClause) *string {
	return c.Flag("socket", "Admin socket of the running turnwarden (admin.socket).").Default(config.DefaultSocket).String()
}

func outputFlag(c *kingpin.CmdClause) *string {
	return c.Flag("output", "text or json.").Default("text").Enum("text", "json")
}
