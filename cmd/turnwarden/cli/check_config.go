package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
)

// CheckConfig answers without touching the machine: both files of a node, or the one of a
// gateway, nothing else.
func CheckConfig(app *kingpin.Application) (string, Run) {
	c := newCommand(app, "check-config", "Check turnwarden.yml and the turnserver.conf it names, or the file of a gateway; every mistake is printed.",
		"turnwarden check-config --config.file=/etc/turnwarden/turnwarden.yml")
	file := configFlag(c)
	return c.FullCommand(), func(_ context.Context, _ io.Reader, out io.Writer) error { return checkConfig(*file, out) }
}

func checkConfig(file string, out io.Writer) error {
	if config.IsGateway(file) {
		if _, err := config.LoadGateway(file); err != nil {
			return service.Refuse(err)
		}
		fmt.Fprintf(out, "%s is valid\n", file)
		return nil
	}
	conf, err := readFiles(file)
	if err != nil {
		return service.Refuse(err)
	}
	for _, w := range conf.Warnings {
		fmt.Fprintln(out, "warning:", w)
	}
	fmt.Fprintf(out, "%s and %s are valid\n", file, conf.Path)
	return nil
}

// readFiles reads turnwarden.yml, and returns the turnserver.conf that it names.
func readFiles(file string) (*coturn.Conf, error) {
	cfg, err := config.LoadNode(file)
	if err != nil {
		return nil, err
	}
	return cfg.Turnserver()
}
