// Command turnwarden makes a stock coturn host a TURN service that operators trust.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/cli"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/daemon"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// Exit codes, as documented.
const (
	exitOK    = 0
	exitError = 1 // failed at run time
	exitUsage = 2 // usage, configuration or preflight
	exitCut   = 3 // a drain's deadline has ended calls
)

func main() {
	thread := supervisor.NewThread()
	go func() { os.Exit(command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, thread)) }()
	thread.Run()
}

// init keeps main on the main thread, of which supervisor.Thread tells the use. By the
// time main runs the scheduler may have moved it.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // the runtime knows no other way

// gcBallast is a part of the heap that nobody writes to, and that takes no memory therefore.
// What a node keeps is 1 MiB, which would be collected whenever there are 4, after every
// 1,600 answers. A higher GOGC would also do, but multiply what a flood takes.
const gcBallast = 16 << 20

// commands are those that the first signal ends, in the order in which the help has them.
var commands = []cli.Command{
	cli.CheckConfig, cli.Servers, cli.Rotate, cli.Revoke, cli.Maintenance, cli.Drain, cli.Restart, cli.Reload, cli.Resume, cli.Import, cli.Upgrade,
	cli.Users, cli.Token, cli.Doctor, cli.Handover, cli.Status, cli.Logs, cli.Probe, cli.Dashboards,
}

// command runs one subcommand and returns the exit code. Nothing below it ends the
// process, so that tests can run it in theirs.
func command(args []string, stdin io.Reader, stdout, stderr io.Writer, thread *supervisor.Thread) int {
	log := &promslog.Config{Writer: stderr}
	if cli.IsTerminal(stderr) {
		log.Writer = cli.Sanitize(stderr) // files and journals get JSON and text as they were logged
	}
	stdout, stderr = cli.Sanitize(stdout), cli.Sanitize(stderr)
	app := kingpin.New("turnwarden", "Runs a TURN server (coturn), proves that it serves, rotates its credentials and registers its room.")
	stopped := -1
	app.Terminate(func(code int) {
		if stopped < 0 {
			stopped = code
			app.UsageWriter(io.Discard) // kingpin goes on, and would print the help again
		}
	})
	app.UsageWriter(stdout).ErrorWriter(stderr)
	app.Version(version.Print("turnwarden"))
	app.HelpFlag.Short('h')
	app.UsageTemplate(kingpin.DefaultUsageTemplate + "{{if .Context.SelectedCommand}}{{.Context.SelectedCommand.HelpLong}}{{end}}")
	promslogflag.AddFlags(app, log)

	runs := map[string]cli.Run{}
	node, run := daemon.Node(app, log, thread)
	runs[node] = run
	gateway, run := daemon.Gateway(app, log)
	runs[gateway] = run
	for _, c := range commands {
		name, run := c(app)
		runs[name] = func(ctx context.Context, in io.Reader, out io.Writer) error {
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run(ctx, in, out)
		}
	}
	if len(args) == 0 { // kingpin would print the help and succeed, and a unit without `run` look well
		fmt.Fprintf(stderr, "turnwarden: found no command; accepted: %s; see turnwarden --help\n", strings.Join(commandNames(app), ", "))
		return exitUsage
	}
	name, err := app.Parse(args)
	switch {
	case stopped >= 0: // --help and --version have answered
		return stopped
	case err != nil:
		fmt.Fprintf(stderr, "turnwarden: %v; see turnwarden --help\n", err)
		return exitUsage
	}
	defer runtime.KeepAlive(make([]byte, gcBallast))
	if err = runs[name](context.Background(), stdin, stdout); err != nil {
		fmt.Fprintf(stderr, "turnwarden: %v\n", err)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*cli.ExitError](err); ok {
		return e.Code
	}
	if _, refused := errors.AsType[*service.RefusedError](err); refused {
		return exitUsage
	}
	if _, cut := errors.AsType[*service.CutError](err); cut {
		return exitCut
	}
	return exitError
}

// commandNames are the words that may come first.
func commandNames(app *kingpin.Application) (names []string) {
	for _, c := range app.Model().Commands {
		if c.Name != "help" {
			names = append(names, c.Name)
		}
	}
	return names
}
