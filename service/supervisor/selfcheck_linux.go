package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Program is the file that would be run if this process were started again: what it was
// started as, and not what its image came from, for that is gone once a package manager
// has put another in its place, and may be one of several that a link can point to.
func Program() (path string, err error) {
	if path = os.Args[0]; !strings.Contains(path, "/") {
		path, err = exec.LookPath(path)
	}
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", fmt.Errorf("find the program to run: %w", err)
	}
	return path, nil
}

// SelfCheck has a program that Exec could run look at what it would be given, and returns
// what it prints. It gets copies of the files as descriptors 3, 4 and so on.
func SelfCheck(ctx context.Context, program string, args []string, stdin *os.File, files ...syscall.Conn) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, selfCheckLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = stdin
	cmd.WaitDelay = time.Second
	for _, f := range files {
		fd, err := Descriptor(f)
		if err == nil {
			// A copy, for os/exec makes what it passes on blocking.
			fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		}
		if err != nil {
			return "", fmt.Errorf("copy a file for the self-check: %w", err)
		}
		file := os.NewFile(uintptr(fd), "handed over")
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s: no end of its self-check after %v", program, selfCheckLimit)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s: its self-check ended with %s: %s", program, exit.String(), said(stderr.String()))
	}
	if err != nil {
		return "", fmt.Errorf("%s: its self-check cannot be run: %w", program, err)
	}
	return strings.TrimSpace(stdout.String()), nil
}

// said is the error on stderr, which is all from the program's name on; before that it
// logs. What has no such error dies in another way, and says how first.
func said(stderr string) string {
	if _, err, found := strings.Cut("\n"+stderr, "\nturnwarden: "); found {
		return strings.TrimSpace(err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	return first
}

// selfCheckLimit bounds a self-check, which takes a tenth of a second.
const selfCheckLimit = 30 * time.Second
