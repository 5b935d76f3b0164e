package main

import (
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/transport"
)

func tokenCommand(app *kingpin.Application, f *flags) *kingpin.CmdClause {
	c := app.Command("token", "Make a token for a caller of the API, and the line of api.tokens_file that lets it in.")
	c.Arg("name", "Name of the caller.").Required().StringVar(&f.caller)
	return c
}

// makeToken touches nothing: which file the line goes to, and with which options, is the
// operator's to say.
func makeToken(name string, stdout io.Writer) error {
	token, line, err := transport.NewToken(name)
	if err != nil {
		return refuse(err)
	}
	fmt.Fprintf(stdout, `token, for the caller alone; it is kept nowhere:
  %s
line for the file of api.tokens_file; rate=N and scope=credential,pick,events,status may follow:
  %s
`, token, line)
	return nil
}
