package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service/probe"
)

// probeHelp is the part of the help that scripts are written by.
const probeHelp = `Each stage is one line: looking the host up, TLS, a STUN Binding, the refusal of a
stranger, an Allocate with the credential, bytes relayed to a second allocation of
the same server and back, and the release of both. Nothing else need be reachable.

Exit codes:
   0  all is well
   2  usage, or a credential that cannot be read
  10  the host has no address
  11  no answer
  12  unauthorized: the credential was refused, or a stranger was not
  13  no allocation for another reason, such as a full server
  14  the allocation could not be released
  15  nothing was relayed
  16  TLS: no handshake, or a certificate that a client would not accept

Examples:
  turnwarden probe stun:turn.example.org
  curl -s http://HOST:13478/turncredential | turnwarden probe turns:turn.example.org --credential.file=-
  turnwarden probe 'turn:192.0.2.7:3478?transport=tcp' --credential.file=alice.json --output=json
`

// probeFlags are what the command probe is given.
type probeFlags struct {
	uri        string
	credential string
	timeout    time.Duration
}

func probeCommand(app *kingpin.Application, f *flags) *kingpin.CmdClause {
	c := app.Command("probe", "Ask any TURN or STUN server what only a working one can answer.").HelpLong(probeHelp)
	c.Arg("uri", "turn:HOST[:PORT][?transport=udp|tcp], turns:, stun: or stuns:.").Required().StringVar(&f.probe.uri)
	c.Flag("credential.file", "File with what to log in with, - for stdin: the answer of /turncredential, or {\"username\":…,\"password\":…}. Without it the server is asked as by a stranger.").StringVar(&f.probe.credential)
	outputFlag(c, f)
	c.Flag("timeout", "How long each stage may take.").Default("5s").DurationVar(&f.probe.timeout)
	return c
}

// probeEcho is relayed to a second allocation and back.
const probeEcho = 1000

func probeServer(f flags, stdin io.Reader, stdout io.Writer, s *signals) error {
	uri, err := probe.ParseURI(f.probe.uri)
	if err != nil {
		return refuse(err)
	}
	if f.probe.timeout <= 0 {
		return refuse(fmt.Errorf("--timeout: found %v; accepted: a duration above 0, such as 5s", f.probe.timeout))
	}
	q := probe.Question{Echo: probeEcho, ToItself: true, Timeout: f.probe.timeout}
	if f.probe.credential != "" {
		if q.Username, q.Password, err = readCredential(f.probe.credential, stdin); err != nil {
			return refuse(fmt.Errorf("--credential.file: %w", err))
		}
	}
	ctx, stop := s.interrupt()
	defer stop()
	listener, report := uri.Ask(ctx, q)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	outcome := newProbeOutcome(f.probe.uri, listener, report)
	if f.output == "json" {
		err = printJSON(stdout, outcome)
	} else {
		err = outcome.printText(stdout)
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if step, failed := report.Failed(); failed {
		return &exit{outcome.ExitCode, fmt.Errorf("%s: %w", f.probe.uri, step.Err)}
	}
	return nil
}

// probeExit is the exit code of a stage that failed.
func probeExit(s probe.Step) int {
	e, _ := errors.AsType[*probe.Error](s.Err)
	switch s.Stage {
	case probe.StageResolve:
		return 10
	case probe.StageBind:
		return 11
	case probe.StageUnauthorized:
		if errors.Is(s.Err, probe.ErrNoAnswer) {
			return 11
		}
		return 12
	case probe.StageAllocate:
		if e != nil && e.Code == 401 {
			return 12
		}
		return 13
	case probe.StageRefresh:
		return 14
	case probe.StageRelay:
		return 15
	default: // TLS
		return 16
	}
}

// readCredential reads what clients are given: the answer of GET /turncredential, or
// any object with a username and a password, as draft-uberti-behave-turn-rest has it.
func readCredential(path string, stdin io.Reader) (username, password string, err error) {
	var data []byte
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(stdin, 1<<20))
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", "", err
	}
	var c struct{ UserID, Username, Password, Code, Message string }
	if err := json.Unmarshal(data, &c); err != nil {
		// What it found instead may be a secret.
		return "", "", fmt.Errorf(`%s holds no JSON object; accepted: the answer of /turncredential, or {"username":"…","password":"…"}`, path)
	}
	username, password = cmp.Or(c.UserID, c.Username), c.Password
	switch {
	case c.Code != "" && c.Code != "ok":
		return "", "", fmt.Errorf("%s says %s: %s; ask /turncredential again when it has a credential", path, c.Code, c.Message)
	case username == "" || password == "":
		return "", "", fmt.Errorf(`%s names no user with a password; accepted: the answer of /turncredential, or {"username":"…","password":"…"}`, path)
	}
	return username, password, nil
}
