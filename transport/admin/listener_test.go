package admin_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/turnwarden/turnwarden/transport/admin"
)

// listenAs listens on a Unix socket as another user.
func listenAs(t *testing.T, uid int, path string) net.Listener {
	t.Helper()
	const keep = ^uintptr(0)
	runtime.LockOSThread() // whose user alone is changed
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		t.Fatal(errno)
	}
	l, err := net.Listen("unix", path)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep); errno != 0 {
		panic(errno)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestClientKnowsItsServer: whoever can put a socket where turnwarden's should be is
// asked nothing.
func TestClientKnowsItsServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to listen as another user")
	}
	const other = 12345
	for name, c := range map[string]struct {
		listener, owner int
		mode            os.FileMode
		answered        bool
	}{
		"root":                          {0, 0, 0o755, true},
		"turnwarden's user":             {other, other, 0o750, true},
		"in a directory for all":        {other, 0, os.ModeSticky | 0o777, false},
		"in one of its own for all":     {other, other, 0o777, false},
		"in one of its own and a group": {other, other, 0o770, false},
		"in the directory of another":   {other, other + 1, 0o777, false},
	} {
		dir, err := os.MkdirTemp("", "admin")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Chown(dir, c.owner, -1); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, c.mode); err != nil {
			t.Fatal(err)
		}
		socket := filepath.Join(dir, "admin.sock")
		asked := make(chan struct{}, 1)
		l := listenAs(t, c.listener, socket)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked <- struct{}{}
			_, _ = w.Write([]byte("[]"))
		})}
		go func() { _ = server.Serve(l) }()
		_, err = admin.NewClient(socket).Users(t.Context())
		_ = server.Close()
		if (err == nil) != c.answered || len(asked) > 0 != c.answered {
			t.Errorf("%s: asked %d times, %v", name, len(asked), err)
		}
		if err != nil && !strings.Contains(err.Error(), "uid 12345") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
