package turnadmin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/turnwarden/turnwarden/service/userdb"
)

// Check says whether the program is there.
func Check(program string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("turnadmin cannot be run: %w: install the package coturn or set coturn.turnadmin to its path", err)
	}
	return nil
}

// Complete creates what is missing of coturn's schema. -L lists the web admins: the shortest
// of the commands that open the file.
func Complete(ctx context.Context, program string, file userdb.File) error {
	_, err := run(ctx, program, file, "-L", "-b", file.Path)
	return err
}

// run runs the program once and returns the failure it admitted, if any;
// an error means that it did not run to its end. The log file that every run
// opens is removed: no option suppresses it, up to coturn 4.17.1.
func run(ctx context.Context, program string, file userdb.File, args ...string) (said string, err error) {
	limited, cancel := context.WithTimeout(ctx, userdb.ProgramLimit)
	defer cancel()
	cmd := file.Command(limited, program, args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	var logs []string
	kill := cmd.Cancel
	cmd.Cancel = func() error {
		logs = openFiles(cmd.Process.Pid) // what it printed is lost: it flushes at exit only
		return kill()
	}
	err = cmd.Run()
	if cmd.Process == nil {
		return "", fmt.Errorf("run turnadmin: %w", err)
	}
	for line := range strings.Lines(output.String()) {
		line = strings.TrimSpace(line)
		if _, path, ok := strings.Cut(line, "log file opened: "); ok {
			logs = append(logs, path)
		}
		if _, failure, ok := strings.Cut(line, "ERROR"); ok && said == "" {
			said = strings.TrimLeft(failure, ": ") // a colon, until 4.17
		}
	}
	for _, path := range logs {
		if ours, _ := filepath.Match(fmt.Sprintf("turn_%d_*.log", cmd.Process.Pid), filepath.Base(path)); ours {
			_ = os.Remove(path)
		}
	}
	if limited.Err() != nil {
		return "", fmt.Errorf("turnadmin was killed: %w", limited.Err())
	}
	if err != nil && said == "" {
		said = err.Error()
	}
	// "Wrong password: " is followed by the arguments.
	if i := slices.Index(args, "-p"); i >= 0 {
		said = strings.ReplaceAll(said, args[i+1], "***")
	}
	if i := slices.Index(args, "-u"); i >= 0 {
		said = strings.ReplaceAll(said, "-u "+args[i+1], "-u ***")
	}
	return said, nil
}

// openFiles returns what the process has open, as far as we may know.
func openFiles(pid int) []string {
	var paths []string
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if path, err := os.Readlink(link); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}
