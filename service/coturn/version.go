package coturn

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Version is a release of coturn. The zero Version is older than all.
type Version struct{ Major, Minor, Patch int }

func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// Before reports whether v is an earlier release than o.
func (v Version) Before(o Version) bool {
	return cmp.Or(cmp.Compare(v.Major, o.Major), cmp.Compare(v.Minor, o.Minor), cmp.Compare(v.Patch, o.Patch)) < 0
}

// HasCLIFlag reports whether the telnet CLI is off until the option cli turns
// it on. Earlier releases have it on, know only no-cli, and refuse cli.
func (v Version) HasCLIFlag() bool { return !v.Before(Version{4, 10, 0}) }

// CanDrain reports whether SIGUSR1 drains the server. It kills earlier ones.
func (v Version) CanDrain() bool { return !v.Before(Version{4, 6, 3}) }

// DrainsEarly reports whether a drain may end before the last call has: with
// drain-min-allocations=5, 4.17.1 cut three calls six seconds into it.
func (v Version) DrainsEarly() bool { return !v.Before(Version{4, 15, 0}) }

// Untried reports whether nobody has tried this turnwarden with the release.
func (v Version) Untried() bool { return Newest.Before(v) }

// LogsTwice reports whether every line comes twice with log-file=stdout, whatever
// no-stdout-log says (4.5.2 and 4.6.0).
func (v Version) LogsTwice() bool { return v.Before(Version{4, 6, 1}) }

// Build is what the installed coturn is, and can do. What depends on the release is
// decided by Version; what depends on how it was built, it is asked for.
type Build struct {
	Version    Version
	Prometheus bool // it has its own endpoint; Debian's 4.6.1 does not
}

// Detect asks the turnserver program what it is.
func Detect(ctx context.Context, turnserver string) (Build, error) {
	v, usage, err := detect(ctx, turnserver)
	if err != nil {
		return Build{}, err
	}
	if usage != nil {
		return Build{Version: v, Prometheus: bytes.Contains(usage, []byte("--prometheus"))}, nil
	}
	// It reports options that it does not know, and then answers all the same or not.
	out, err := ask(ctx, turnserver, "--prometheus", "--version")
	return Build{Version: v, Prometheus: err == nil && versionLine.Match(out) && !unknownLine.Match(out)}, nil
}

// versionTimeout bounds `turnserver --version`, which takes some 10 ms.
const versionTimeout = 10 * time.Second

var (
	// versionLine matches what --version prints. The last match counts: coturn
	// 4.6.2 logs before it answers.
	versionLine = regexp.MustCompile(`(?m)^(\d+)\.(\d+)(?:\.(\d+))?\b`)
	usageLine   = regexp.MustCompile(`(?m)^Usage: turnserver\b`)
	unknownLine = regexp.MustCompile(`\b(?:unrecognized|unknown|ambiguous)\b`) // glibc's words, and musl's
	openedLine  = regexp.MustCompile(`(?m)log file opened: (\S+)\s*$`)
)

// CheckName refuses a name of turnserver that contains "turnadmin": coturn
// looks for these letters anywhere in argv[0], directories included, and where
// it finds them it is the administration tool and serves nobody (4.6.1 and 4.17.1).
func CheckName(turnserver string) error {
	if strings.Contains(turnserver, "turnadmin") {
		return fmt.Errorf("%s: the path contains \"turnadmin\", so coturn would run as its administration tool; set coturn.turnserver to a path without it", turnserver)
	}
	return nil
}

// DetectVersion asks the turnserver program which release it is.
func DetectVersion(ctx context.Context, turnserver string) (Version, error) {
	v, _, err := detect(ctx, turnserver)
	return v, err
}

// detect also returns the usage, of a release that answers with that.
func detect(ctx context.Context, turnserver string) (v Version, usage []byte, err error) {
	if err := CheckName(turnserver); err != nil {
		return Version{}, nil, err
	}
	out, err := ask(ctx, turnserver, "--version")
	switch {
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist):
		return Version{}, nil, fmt.Errorf("%s: no such program; install coturn (apt-get install coturn) or set coturn.turnserver to its path", turnserver)
	case errors.Is(err, fs.ErrPermission):
		return Version{}, nil, fmt.Errorf("%s: not a program that uid %d may execute; set coturn.turnserver to coturn's turnserver", turnserver, os.Geteuid())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Version{}, nil, fmt.Errorf("%s: no answer to --version: %w; set coturn.turnserver to coturn's turnserver", turnserver, err)
	}
	if old := unknownLine.Match(out) && usageLine.Match(out); old && err != nil {
		// --version came with 4.6.0, acme-redirect with 4.5.2.
		if !bytes.Contains(out, []byte("--acme-redirect")) {
			return Version{}, nil, tooOld(turnserver, fmt.Sprintf("a release before %v", Oldest))
		}
		return Oldest, out, nil
	}
	found := versionLine.FindAllSubmatch(out, -1)
	if err != nil || len(found) == 0 {
		return Version{}, nil, fmt.Errorf("%s: --version printed no version (%s); set coturn.turnserver to coturn's turnserver", turnserver, outcome(err))
	}
	last := found[len(found)-1]
	v = Version{versionNumber(last[1]), versionNumber(last[2]), versionNumber(last[3])}
	if v.Before(Oldest) {
		return Version{}, nil, tooOld(turnserver, "coturn "+v.String())
	}
	return v, nil, nil
}

func tooOld(turnserver, found string) error {
	return fmt.Errorf("%s: %s found; coturn %v or later accepted; upgrade coturn", turnserver, found, Oldest)
}

// ask runs turnserver, for nothing but what it prints.
func ask(ctx context.Context, turnserver string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	// turnserver opens a log file in the first directory it can write, and its
	// own working directory is one of those it tries.
	cmd := exec.CommandContext(ctx, turnserver, args...)
	cmd.Dir = "/"
	if dir, err := os.MkdirTemp("", "turnwarden-version-"); err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		cmd.Dir = dir
	}
	cmd.Env = []string{}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		removeLogs(out, cmd.Process.Pid)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return out, err
}

func outcome(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// versionNumber reads digits that a regular expression has matched; none are 0.
func versionNumber(digits []byte) int {
	n, _ := strconv.Atoi(string(digits))
	return n
}

// removeLogs removes the log files that the process says it has opened, and
// only files with the name coturn gives to those of this very process.
func removeLogs(output []byte, pid int) {
	for _, m := range openedLine.FindAllSubmatch(output, -1) {
		path := string(bytes.TrimSpace(m[1]))
		if strings.HasPrefix(filepath.Base(path), fmt.Sprintf("turn_%d_", pid)) && filepath.IsAbs(path) {
			_ = os.Remove(path)
		}
	}
}
