package supervisor_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// images is how many times the helpers exec themselves.
const images = 20

// count writes numbered lines for ever, in pieces that end anywhere.
func count() {
	var text bytes.Buffer
	for i := 1; ; {
		for text.Len() < 700 {
			fmt.Fprintf(&text, "line %d of what a child writes\n", i)
			i++
		}
		if _, err := os.Stdout.Write(text.Next(1 + i%611)); err != nil {
			return
		}
	}
}

// heritage is what one image leaves to the next.
type heritage struct {
	Image  int
	Last   int // number of the last line that was read
	Child  supervisor.Left
	Output [2]int // descriptors of the pipes
}

const heritageEnv = "TURNWARDEN_TEST_HERITAGE"

// image starts a child or goes on with that of the image before, and execs the next one
// after a thousand lines, on the given thread. The last one ends the child.
func image(execs *supervisor.Thread) {
	name := os.Getenv(helperEnv)
	var h heritage
	if text := os.Getenv(heritageEnv); text != "" {
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			fail("heritage", err)
		}
	}
	cmd, _ := command("count")
	enough := make(chan struct{})
	first := h.Last
	cut := false // the child has been killed in the middle of a line
	cmd.Stdout = func(line []byte) {
		want := fmt.Sprintf("line %d of what a child writes", h.Last+1)
		if cut || !strings.HasPrefix(want, string(line)) {
			fail(fmt.Sprintf("image %d read %q, want %q", h.Image, line, want), nil)
		}
		cut = string(line) != want
		if h.Last++; h.Last == first+1000 {
			close(enough)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var child *supervisor.ChildProcess
	var err error
	if h.Child.PID == 0 {
		child, err = cmd.Start(ctx)
	} else {
		for i, fd := range h.Output {
			h.Child.Output[i].File = os.NewFile(uintptr(fd), "pipe")
			syscall.CloseOnExec(fd)
		}
		child, err = cmd.Adopt(ctx, h.Child)
	}
	if err != nil {
		fail("child", err)
	}
	if name != "image" && h.Image > 0 {
		fmt.Println(child.Wait())
		return
	}
	<-enough
	if h.Image == images {
		fmt.Println("ready", child.PID())
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
			select {} // to be killed
		}
		stop()
		fmt.Println(child.Wait())
		return
	}
	left, _ := child.Leave()
	h.Image++
	h.Child = left
	var files []syscall.Conn
	for i, pipe := range left.Output {
		if h.Output[i], err = supervisor.Descriptor(pipe.File); err != nil {
			fail("descriptor", err)
		}
		files = append(files, pipe.File)
		h.Child.Output[i].File = nil
	}
	if name == "dead-image" {
		// It ends after we have stopped to look, and is a zombie when the next image comes.
		_ = syscall.Kill(child.PID(), syscall.SIGTERM)
		if err := unix.Waitid(unix.P_PID, child.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			fail("wait", err)
		}
	}
	text, err := json.Marshal(h)
	if err != nil {
		fail("heritage", err)
	}
	_ = os.Unsetenv(heritageEnv)
	fail("exec", execs.Exec("/proc/self/exe", os.Args, func() ([]string, []syscall.Conn, error) {
		return append(os.Environ(), heritageEnv+"="+string(text)), files, nil
	}))
}

func fail(what string, err error) {
	fmt.Println(what, err)
	os.Exit(1)
}

// strayThread is any thread but the main one.
func strayThread() *supervisor.Thread {
	t := supervisor.NewThread()
	go t.Run()
	return t
}

// becomes runs a helper that execs itself.
func becomes(t *testing.T, helper string) (cmd *exec.Cmd, in io.Writer, out *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = []string{helperEnv + "=" + helper}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, in, bufio.NewScanner(stdout)
}

// says returns the next line of a helper.
func says(t *testing.T, out *bufio.Scanner) string {
	t.Helper()
	if !out.Scan() {
		t.Fatalf("the helper says nothing: %v", out.Err())
	}
	return out.Text()
}

// One image after another goes on with the child: no line is lost or cut, it can be
// stopped, and its end is told.
func TestExecKeepsTheChild(t *testing.T) {
	t.Parallel()
	cmd, in, out := becomes(t, "image")
	pid := readyPID(t, says(t, out))
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || !strings.Contains(string(stat), fmt.Sprintf(" %d %d ", cmd.Process.Pid, pid)) { // ppid, pgrp
		t.Errorf("the child of %d is now %s (%v)", cmd.Process.Pid, stat, err)
	}
	if open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid)); err != nil || len(open) > 12 {
		t.Errorf("after %d images %d files are open, %v", images, len(open), err)
	}
	if _, err := in.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if got := says(t, out); got != "signal SIGTERM" {
		t.Errorf("Wait of the last image: %s", got)
	}
}

func TestChildDiesWithUsAfterExec(t *testing.T) {
	t.Parallel()
	cmd, _, out := becomes(t, "image")
	pid := readyPID(t, says(t, out))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	realtest.Eventually(t, 5*time.Second, func() error { return gone(pid) })
}

// Its exit status waits for whoever comes next.
func TestChildEndsDuringExec(t *testing.T) {
	t.Parallel()
	_, _, out := becomes(t, "dead-image")
	if got := says(t, out); got != "signal SIGTERM" {
		t.Errorf("Wait of the next image: %s", got)
	}
}

// Why it has to be the thread that started the child: the exec ends all others.
func TestExecFromAnotherThreadKillsTheChild(t *testing.T) {
	t.Parallel()
	_, _, out := becomes(t, "stray-image")
	if got := says(t, out); got != "signal SIGKILL" {
		t.Errorf("Wait of the next image: %s; the exec need not come from a thread of its own any more", got)
	}
}

func TestExecFails(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd, err := supervisor.Descriptor(r)
	if err != nil {
		t.Fatal(err)
	}
	with := func() ([]string, []syscall.Conn, error) { return nil, []syscall.Conn{r}, nil }
	if err := thread.Exec("/proc/self/status", nil, with); !errors.Is(err, syscall.EACCES) {
		t.Errorf("Exec = %v, want %v", err, syscall.EACCES)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags != unix.FD_CLOEXEC {
		t.Errorf("the file would leak into a child: flags %#x, %v", flags, err)
	}
	_ = r.Close()
	if err := thread.Exec("/proc/self/exe", nil, with); err == nil {
		t.Error("Exec with a closed file succeeded")
	}
	none := func() ([]string, []syscall.Conn, error) { return nil, nil, io.ErrUnexpectedEOF }
	if err := thread.Exec("/proc/self/exe", nil, none); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Exec = %v, want what prepare said", err)
	}
}

func TestAdoptNoChildOfOurs(t *testing.T) {
	cmd, _ := command("serve")
	if p, err := cmd.Adopt(t.Context(), supervisor.Left{PID: 1}); err == nil {
		t.Errorf("Adopt(1) = %v, want an error", p)
	}
}
