package supervisor_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/service/supervisor"
)

// helperEnv makes this test binary one of the helpers instead of the tests.
const helperEnv = "TURNWARDEN_TEST_HELPER"

// thread starts every child: it is the main thread, as in turnwarden.
var thread = supervisor.NewThread()

func init() { runtime.LockOSThread() } //nolint:gochecknoinits // the only way to be the main thread for sure

func TestMain(m *testing.M) {
	go func() {
		if name := os.Getenv(helperEnv); name != "" {
			helpers[name]()
			os.Exit(0)
		}
		goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/turnwarden/turnwarden/service/supervisor.(*Thread).Run"))
	}()
	thread.Run()
}

// helpers are the children of the tests. Each prints a line when it is ready.
var helpers = map[string]func(){
	"serve": func() { ready(); select {} },
	"ignore-term": func() {
		signal.Ignore(syscall.SIGTERM)
		ready()
		select {}
	},
	"say-signal": func() {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGUSR1)
		ready()
		for s := range c {
			fmt.Println(s)
		}
	},
	"crash": func() { os.Exit(7) },
	"hang": func() {
		ready()
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {}
	},
	"chatty": func() {
		ready()
		for _, f := range []*os.File{os.Stdout, os.Stderr} {
			w := bufio.NewWriter(f)
			for i := range stormLines {
				fmt.Fprintf(w, "Trying to bind fd 42 to <192.0.2.1:%d>: errno=99\n", i)
			}
			_ = w.Flush()
		}
	},
	"environment": func() {
		n, err := os.Stdin.Read(make([]byte, 1))
		fmt.Printf("env %q pgid %v stdin %d %v\n", os.Environ(), syscall.Getpgrp() == os.Getpid(), n, err)
	},
	// Its own child inherits stdout, and the process group unless it leaves it.
	"mother":      func() { mother(false) },
	"mother-away": func() { mother(true) },
	// What turnwarden is to turnserver; the test kills it.
	"parent":            func() { parent(nil, nil) },
	"parent-other-user": func() { parent(nobody(), nil) },
	"parent-caps":       func() { parent(nobody(), []uintptr{capNetBindService}) },
	// Writes numbered lines in pieces that end anywhere.
	"count": count,
	// Starts a child and becomes another image of itself, time after time.
	"image":       func() { image(thread) },
	"stray-image": func() { image(strayThread()) },
	"dead-image":  func() { image(thread) },
	// Looks at a port from outside, as another user, and at the sockets of a pid.
	"look": func() {
		port, _ := strconv.Atoi(os.Args[1])
		pid, _ := strconv.Atoi(os.Args[2])
		sockets, err := supervisor.PortOwners(uint16(port))
		fmt.Println(sockets, err)
		_, err = supervisor.Foreign(pid, []netip.AddrPort{sockets[0].Addr})
		fmt.Println(err)
	},
}

const (
	stormLines        = 100_000 // on each pipe
	capNetBindService = 10
)

func ready() { fmt.Println("ready", os.Getpid()) }

func nobody() *syscall.Credential { return &syscall.Credential{Uid: 65534, Gid: 65534} }

func mother(away bool) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{helperEnv + "=serve"}
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: away}
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready", cmd.Process.Pid)
}

func parent(as *syscall.Credential, caps []uintptr) {
	cmd, lines := command("serve")
	cmd.Credential, cmd.AmbientCaps, cmd.Dir = as, caps, "/"
	if _, err := cmd.Start(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-lines)
	select {}
}

// command returns the Command that runs a helper, and the lines it prints.
func command(name string, args ...string) (supervisor.Command, <-chan string) {
	lines := make(chan string, 8)
	return supervisor.Command{
		Path:        "/proc/self/exe", // so that another user needs no way into the directory
		Args:        args,
		Env:         []string{helperEnv + "=" + name},
		StopTimeout: 10 * time.Second,
		Stdout:      func(line []byte) { lines <- string(line) },
		Stderr:      func(line []byte) { lines <- string(line) },
		Thread:      thread,
	}, lines
}

// started runs a helper until the test ends and returns once it is ready.
func started(ctx context.Context, t *testing.T, cmd supervisor.Command, lines <-chan string) *supervisor.ChildProcess {
	t.Helper()
	p, err := cmd.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
		_ = p.Wait()
	})
	select {
	case line := <-lines:
		if !strings.HasPrefix(line, "ready") {
			t.Fatalf("helper said %q", line)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("helper is not ready after 10s")
	}
	return p
}

var discardLogger = slog.New(slog.DiscardHandler)

// state is the state of a process as ps shows it, 'X' when there is none.
func state(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 'X'
	}
	return stat[bytes.LastIndexByte(stat, ')')+2]
}

// gone tells whether pid is no process any more, or a zombie.
func gone(pid int) error {
	if s := state(pid); s != 'X' && s != 'Z' {
		return fmt.Errorf("process %d is in state %c", pid, s)
	}
	return nil
}
