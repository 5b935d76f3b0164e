package coturn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// cliSession is a conversation with coturn's CLI: one command, the lines it
// prints, and then the prompt, which no newline follows.
//
// What clients send cannot forge a line. coturn prints their usernames, and
// authenticates none with a blank, a quote, a backslash or a line end; of the
// ORIGIN they send it prints what the operator has mapped to a realm, and nothing
// else (measured with coturn 4.6.1).
type cliSession struct {
	w           io.Writer
	r           *bufio.Reader
	allocations int // in the default realm, when the session was opened
}

const (
	cliPrompt = "> "
	cliAsks   = "Enter password:"
)

// errStranger is what every proof that this is not our child comes down to: with
// SO_REUSEPORT two turnservers of one uid share a port, and neither is told.
var errStranger = errors.New("another turnserver shares this port (ss -ltnp names both): stop it")

// login gives the password when it is asked for it, and gives it once: coturn
// would ask five times.
func (s *cliSession) login(password CLIPassword) error {
	for asked := false; ; {
		line, err := s.line()
		switch {
		case err != nil:
			return err
		case line == cliPrompt && asked:
			return nil
		case line == cliPrompt:
			return fmt.Errorf("it asks for no password, and ours does: %w", errStranger)
		case !strings.HasPrefix(line, cliAsks):
			continue // the banner
		case asked:
			return fmt.Errorf("it refuses our password: %w", errStranger)
		}
		if err := s.send(string(password)); err != nil {
			return err
		}
		asked = true
	}
}

// identify makes sure that the listening port is ours, and keeps the number of
// allocations that the same command prints.
func (s *cliSession) identify(listening int) error {
	found := map[string]string{}
	err := s.run("pc", func(line string) error {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			found[name] = value
		}
		return nil
	})
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(found["listener-port"])
	if err != nil {
		return errors.New("its command pc prints no listener-port: this release of coturn is not known, set coturn.cli to false")
	}
	if port != listening {
		return fmt.Errorf("it listens on port %d, our turnserver on %d: %w", port, listening, errStranger)
	}
	s.allocations, err = strconv.Atoi(found["total-current-allocs"])
	if err != nil {
		return errors.New("its command pc prints no total-current-allocs: this release of coturn is not known, set coturn.cli to false")
	}
	return nil
}

// run gives a command and hands each line that it prints to use.
func (s *cliSession) run(command string, use func(line string) error) error {
	if err := s.send(command); err != nil {
		return err
	}
	for {
		line, err := s.line()
		if err != nil || line == cliPrompt {
			return err
		}
		if err := use(line); err != nil {
			return err
		}
	}
}

// send writes a line in one piece, and never the next one before the answer:
// coturn takes whatever arrives together for a single command.
func (s *cliSession) send(line string) error {
	_, err := io.WriteString(s.w, line+"\r\n")
	return err
}

// line returns the next line, without its end, or the prompt. Every line has two
// bytes at least, its end.
func (s *cliSession) line() (string, error) {
	start, err := s.r.Peek(len(cliPrompt))
	if err == nil && string(start) == cliPrompt {
		_, err = s.r.Discard(len(cliPrompt))
		return cliPrompt, err
	}
	line, err := s.r.ReadSlice('\n') // bounded by the buffer
	if errors.Is(err, io.EOF) {
		return "", errors.New("it closed the connection")
	}
	return strings.TrimRight(string(line), "\r\n"), err
}

// refuseLine is for commands that print nothing when they work.
func refuseLine(line string) error { return fmt.Errorf("unexpected answer %q", line) }
