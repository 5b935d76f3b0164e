// Command turnwarden makes a stock coturn host a TURN service that operators trust.
package main

import (
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

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/dashboards"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/journal"
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
	incoming := make(chan os.Signal, 8)
	asked := map[os.Signal]chan<- os.Signal{}
	s := newSignals(incoming, func() { signal.Stop(incoming) })
	s.subscribe = func(of os.Signal) <-chan os.Signal {
		c := make(chan os.Signal, 1)
		asked[of] = c
		signal.Notify(c, of)
		return c
	}
	s.listen = func() {
		signal.Notify(incoming, os.Interrupt, syscall.SIGTERM)
		for of, c := range asked {
			signal.Notify(c, of)
		}
	}
	s.mute = func() {
		s.reset()
		for of := range asked {
			signal.Ignore(of) // an exec keeps that; the default action would end the next image
		}
	}
	s.listen()
	thread := supervisor.NewThread()
	go func() { os.Exit(command(os.Args[1:], os.Stdout, os.Stderr, s, thread)) }()
	thread.Run()
}

// init keeps main on the main thread, of which supervisor.Thread tells the use. By the
// time main runs the scheduler may have moved it.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // the runtime knows no other way

// flags are what the command line says.
type flags struct {
	configFile    string
	webListen     string
	webConfigFile string
	telemetryPath string
	log           *promslog.Config
	socket        string
	out           string
	caller        string
	output        string
	follow        bool
	yes, check    bool
	lines         uint
	tail          *journal.Tail // of the log
	dashboards    dashboards.Options
	probe         probeFlags
	users         usersFlags
	selfCheck     bool // look at a handover on stdin, and start nothing
}

// calm is a part of the heap that nobody writes to, and that takes no memory therefore. What
// a node keeps is 1 MiB, which would be collected whenever there are 4, after every 1,600
// answers. A higher GOGC would also do, but multiply what a flood takes.
const calm = 16 << 20

// command runs one subcommand and returns the exit code. Nothing below it ends the
// process or touches signals, so that tests can run it in theirs.
func command(args []string, stdout, stderr io.Writer, s *signals, thread *supervisor.Thread) int {
	f := flags{log: &promslog.Config{Writer: stderr}}
	if terminal(stderr) {
		f.log.Writer = plain{stderr} // files and journals get JSON and text as they were logged
	}
	stdout, stderr = plain{stdout}, plain{stderr}
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

	run := app.Command("run", "Run turnserver and everything around it until SIGTERM.")
	configFlag(run, &f)
	webFlags(run, &f, ":13479")
	run.Flag("self-check", "Prove that this version could go on for the one that runs, whose handover is on stdin.").Hidden().BoolVar(&f.selfCheck)
	gateway := app.Command("gateway", "Answer for all nodes that are registered in ZooKeeper, until SIGTERM.")
	configFlag(gateway, &f)
	webFlags(gateway, &f, ":13481")
	promslogflag.AddFlags(app, f.log)
	check := app.Command("check-config", "Check turnwarden.yml and the turnserver.conf it names, or the file of a gateway; every mistake is printed.")
	configFlag(check, &f)

	serversCmd := serversCommand(app, &f)
	operator := operatorCommands(app, &f)
	usersCmd := usersCommand(app, &f)
	token := tokenCommand(app, &f)
	doctorCmd := doctorCommand(app, &f)
	handoverCmd := handoverCommand(app, &f)
	statusCmd := statusCommand(app, &f)
	logsCmd := logsCommand(app, &f)
	probeCmd := probeCommand(app, &f)
	dashboardsCmd := app.Command("dashboards", "Write the Grafana dashboards, the Prometheus rules and examples of how to load them.")
	dashboardsCmd.Flag("out", "Directory to write to.").Required().StringVar(&f.out)
	dashboardsCmd.Flag("runbook-base-url", "Page that the alerts' runbook_url points into.").Default(dashboards.RunbookBaseURL).StringVar(&f.dashboards.RunbookBaseURL)
	addExamples(app)
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
	defer runtime.KeepAlive(make([]byte, calm))
	switch name {
	case run.FullCommand():
		f.tail = journal.NewTail()
		f.log.Writer = io.MultiWriter(f.tail, f.log.Writer) // the second may fail
		err = runNode(f, promslog.New(f.log), stdout, s, thread)
	case gateway.FullCommand():
		err = runGateway(f, promslog.New(f.log), s)
	case serversCmd.FullCommand():
		err = showServers(f, stdout, s)
	case check.FullCommand():
		err = checkConfig(f, stdout)
	case statusCmd.FullCommand():
		err = showStatus(f, stdout, s)
	case logsCmd.FullCommand():
		err = showLogs(f, stdout, s)
	case doctorCmd.FullCommand():
		err = examine(f, stdout, s)
	case usersCmd.FullCommand():
		err = manageUsers(f, os.Stdin, stdout, s)
	case handoverCmd.FullCommand():
		err = handOver(f, os.Stdin, stdout, s)
	case token.FullCommand():
		err = makeToken(f.caller, stdout)
	case probeCmd.FullCommand():
		err = probeServer(f, os.Stdin, stdout, s)
	case dashboardsCmd.FullCommand():
		err = dashboards.Write(f.out, f.dashboards)
	default:
		err = operate(f, stdout, s, operator[name])
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "turnwarden: %v\n", err)
	if e, ok := errors.AsType[*exit](err); ok {
		return e.code
	}
	if _, refused := errors.AsType[*refusal](err); refused {
		return exitUsage
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

func configFlag(c *kingpin.CmdClause, f *flags) {
	c.Flag("config.file", "Configuration file.").Default("turnwarden.yml").StringVar(&f.configFile)
}

func socketFlag(c *kingpin.CmdClause, f *flags) {
	c.Flag("socket", "Admin socket of the running turnwarden (admin.socket).").Default(config.DefaultSocket).StringVar(&f.socket)
}

func outputFlag(c *kingpin.CmdClause, f *flags) {
	c.Flag("output", "text or json.").Default("text").EnumVar(&f.output, "text", "json")
}

// exit is an error with an exit code of its own.
type exit struct {
	code int
	error
}

func (e *exit) Unwrap() error { return e.error }

func webFlags(c *kingpin.CmdClause, f *flags, address string) {
	c.Flag("web.listen-address", "Address of the status page, /metrics, /-/healthy and /-/ready.").Default(address).StringVar(&f.webListen)
	c.Flag("web.config.file", "TLS and basic auth of that address, as exporter-toolkit's web configuration.").StringVar(&f.webConfigFile)
	c.Flag("web.telemetry-path", "Path of the metrics.").Default("/metrics").StringVar(&f.telemetryPath)
}

// refusal is an error found before anything was started.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

func refuse(err error) error { return &refusal{err} }
