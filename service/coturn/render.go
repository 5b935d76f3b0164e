package coturn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Runtime is what one start of the child adds to the operator's configuration.
type Runtime struct {
	Version     Version
	CLI         bool
	CLIPort     int         // on 127.0.0.1
	CLIPassword CLIPassword // one word, new at every start
}

// CLIPassword redacts itself; string(p) is the password.
type CLIPassword string

// Format prints *** whatever the verb.
func (CLIPassword) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "***") }

// MarshalText is what encoders and log handlers print: ***.
func (CLIPassword) MarshalText() ([]byte, error) { return []byte("***"), nil }

// cliMaxSessions is what the CLI command ps prints at most. coturn's own 256
// would hide the rest of a busy host's sessions.
const cliMaxSessions = 1_000_000

// Render writes the configuration file of the child: the operator's lines in
// their order, less those left out, and then ours, because the last line of a
// name counts. It holds the CLI password and whatever secret the operator's
// lines hold, so the file is for the child's uid alone.
func (c *Conf) Render(r Runtime) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by turnwarden from %q at every start: change that file, not this one.\n", c.Path)
	for _, l := range c.lines {
		b.WriteString(l.text + "\n")
	}
	b.WriteString("\n# Set by turnwarden.\n")
	b.WriteString("log-file=stdout\nno-stdout-log\nverbose\npidfile=\n")
	if r.Version.DrainsEarly() {
		b.WriteString("drain-min-allocations=0\n")
	}
	// Without this line turnserver and turnadmin use whatever is compiled in.
	fmt.Fprintf(&b, "userdb=\"%s\"\n", c.UserDB)
	switch {
	case r.CLI:
		if r.Version.HasCLIFlag() {
			b.WriteString("cli\n")
		}
		fmt.Fprintf(&b, "cli-ip=127.0.0.1\ncli-port=%d\ncli-password=%s\ncli-max-output-sessions=%d\n",
			r.CLIPort, string(r.CLIPassword), cliMaxSessions)
	case !r.Version.HasCLIFlag():
		b.WriteString("no-cli\n")
	}
	return []byte(b.String())
}

// Args are the arguments of turnserver for a rendered file, without the name
// of the program. They repeat what coturn must know before it reads a file:
// one line of log before log-file=stdout, and it opens a log file of its own.
func Args(rendered string) []string {
	return []string{"-c", rendered, "--log-file=stdout", "--no-stdout-log", "--pidfile="}
}

// CheckReadable proves that the child will be able to read its configuration,
// by asking as the user it runs as (nil: our own). turnserver itself would only
// warn, and start as a relay that is open to anybody.
func CheckReadable(ctx context.Context, path string, as *syscall.Credential) error {
	cmd := exec.CommandContext(ctx, "test", "-r", path)
	cmd.Dir = "/"
	cmd.Env = []string{}
	uid := os.Geteuid()
	if as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		uid = int(as.Uid)
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return fmt.Errorf("%s: unreadable for uid %d; turnserver would start without it, as a relay open to anybody; give that uid the file and the right to enter its directories", path, uid)
	}
	if err != nil {
		return fmt.Errorf("check as uid %d that %s is readable: %w", uid, path, err)
	}
	return nil
}
