package host

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestListenUnix: what a killed run has left gives way, and nothing else does.
func TestListenUnix(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "admin.sock")
	refused := func(what, want string) {
		t.Helper()
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := listenUnix(t.Context(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want an error with %q", what, l, err, want)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s is not there any more: %v", what, err)
		}
	}
	remove := func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}

	l, err := listenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
	refused("a socket that is in use", "in use by another turnwarden")
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	// Children of other tests have the closed socket until they exec.
	realtest.Eventually(t, 10*time.Second, func() (err error) {
		l, err = listenUnix(t.Context(), path)
		return err
	})
	_ = l.Close()

	if err := os.WriteFile(path, []byte("turnserver.conf, say"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("a file", "is no socket")
	remove()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	refused("a directory", "is no socket")
	remove()

	// One that is so busy that the kernel queues nobody any more.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("unix", path)
		if err != nil {
			break
		}
		defer c.Close()
	}
	refused("a socket that is busy", "resource temporarily unavailable")
}
