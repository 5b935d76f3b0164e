package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service"
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

// probeEcho is relayed to a second allocation and back.
const probeEcho = 1000

// Probe asks any TURN or STUN server.
func Probe(app *kingpin.Application) (string, Run) {
	c := app.Command("probe", "Ask any TURN or STUN server what only a working one can answer.").HelpLong(probeHelp)
	target := c.Arg("uri", "turn:HOST[:PORT][?transport=udp|tcp], turns:, stun: or stuns:.").Required().String()
	credential := c.Flag("credential.file", "File with what to log in with, - for stdin: the answer of /turncredential, or {\"username\":…,\"password\":…}. Without it the server is asked as by a stranger.").String()
	output := outputFlag(c)
	timeout := c.Flag("timeout", "How long each stage may take.").Default("5s").Duration()
	return c.FullCommand(), func(ctx context.Context, in io.Reader, out io.Writer) error {
		uri, err := probe.ParseURI(*target)
		if err != nil {
			return service.Refuse(err)
		}
		if *timeout <= 0 {
			return service.Refuse(fmt.Errorf("--timeout: found %v; accepted: a duration above 0, such as 5s", *timeout))
		}
		q := probe.Question{Echo: probeEcho, ToItself: true, Timeout: *timeout}
		if *credential != "" {
			if q.Username, q.Password, err = readCredential(*credential, in); err != nil {
				return service.Refuse(fmt.Errorf("--credential.file: %w", err))
			}
		}
		return probeServer(ctx, *target, uri, q, *output, out)
	}
}

func probeServer(ctx context.Context, target string, uri probe.URI, q probe.Question, output string, out io.Writer) (err error) {
	listener, report := uri.Ask(ctx, q)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	outcome := newProbeOutcome(target, listener, report)
	if output == "json" {
		err = printJSON(out, outcome)
	} else {
		err = outcome.printText(out)
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if step, failed := report.Failed(); failed {
		return &ExitError{outcome.ExitCode, fmt.Errorf("%s: %w", target, step.Err)}
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
