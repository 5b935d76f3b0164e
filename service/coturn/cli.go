package coturn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// ErrNoCLI means that there is nobody to ask for running sessions.
var ErrNoCLI = errors.New("coturn's CLI cannot be used: coturn.cli is false, or no turnserver has been started")

// cliLimit bounds one conversation with the CLI. turnserver prints 300 sessions
// in some 30 ms; one that hangs still accepts connections, and never answers.
const cliLimit = 10 * time.Second

// CLI asks the running turnserver for its sessions, and ends them. Each call is
// a connection of its own: address and password are new at every start of the
// child, and a connection that is kept would have to be proved alive, and to
// lead to our child, before each use, which costs as much as a new one.
type CLI struct {
	child     func() Runtime
	listening func() int
}

// NewCLI returns the client of the child that was started last: child returns
// what it was started with, or the zero Runtime while there is none. listening
// is the listening-port that it has.
func NewCLI(child func() Runtime, listening func() int) *CLI {
	return &CLI{child: child, listening: listening}
}

// List returns the allocations of a user, or all of them for "". A 5-tuple that
// has only authenticated so far is not among them, and can still allocate for
// 60 s. A list that stays cut short is an error.
func (c *CLI) List(ctx context.Context, username string) ([]Session, error) {
	if strings.HasPrefix(username, "*") || strings.ContainsFunc(username, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("list sessions: username refused: printable ASCII is accepted, without blanks and not starting with *")
	}
	var list sessionList
	err := c.converse(ctx, func(s *cliSession) error {
		for range 2 {
			list = sessionList{now: time.Now()}
			if err := s.run("ps "+username, list.add); err != nil || !list.cut() {
				return err
			}
			// Somebody has lowered what we start it with: coturn has no second page.
			err := s.run(fmt.Sprintf("cc cli-max-output-sessions %d", cliMaxSessions), func(string) error { return nil })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = list.complete(username)
	}
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return list.sessions, nil
}

// Cancel ends the sessions with these ids. coturn reports neither success nor
// an unknown id, and ends them a moment later: List proves it.
func (c *CLI) Cancel(ctx context.Context, ids ...string) error {
	for _, id := range ids {
		if !isSessionID(id) {
			return fmt.Errorf("cancel session %q: an id is a number of 1 to 20 digits, as List returns it", id)
		}
	}
	err := c.converse(ctx, func(s *cliSession) error {
		for _, id := range ids {
			if err := s.run("cs "+id, refuseLine); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cancel sessions: %w", err)
	}
	return nil
}

// Allocations returns the number of allocations in the default realm. It costs
// coturn the same 2 KB whatever their number.
func (c *CLI) Allocations(ctx context.Context) (int, error) {
	var n int
	err := c.converse(ctx, func(s *cliSession) error {
		n = s.allocations
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("count allocations: %w", err)
	}
	return n, nil
}

// converse connects, logs in, makes sure that this is our child and lets use
// give commands.
func (c *CLI) converse(ctx context.Context, use func(*cliSession) error) error {
	child := c.child()
	if !child.CLI {
		return ErrNoCLI
	}
	ctx, cancel := context.WithTimeout(ctx, cliLimit)
	defer cancel()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(child.CLIPort))
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("connect to coturn's CLI: %w", err)
	}
	defer func() { _ = conn.Close() }() // coturn ends its side; "quit" would be a round trip more
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	s := &cliSession{w: conn, r: bufio.NewReader(conn)}
	err = s.login(child.CLIPassword)
	if err == nil {
		err = s.identify(c.listening())
	}
	if err == nil {
		err = use(s)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("coturn's CLI at %s did not answer in time: %w", addr, ctx.Err())
	default:
		return fmt.Errorf("coturn's CLI at %s: %w", addr, err)
	}
}
