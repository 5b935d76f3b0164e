package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
)

// Token makes a token and touches nothing: which file the line goes to, and with which
// options, is the operator's to say.
func Token(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "token", "Make a token for a caller of the API, and the line of api.tokens_file that lets it in.", "turnwarden token signalling")
	name := c.Arg("name", "Name of the caller.").Required().String()
	return c.FullCommand(), func(_ context.Context, _ io.Reader, out io.Writer) error {
		token, line, err := transport.NewToken(*name)
		if err != nil {
			return service.Refuse(err)
		}
		fmt.Fprintf(out, `token, for the caller alone; it is kept nowhere:
  %s
line for the file of api.tokens_file; rate=N and scope=credential,pick,events,status may follow:
  %s
`, token, line)
		return nil
	}
}
