package handover

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInherit: a handover is for this process, in a format that it knows, or is refused in
// words that say what to do.
func TestInherit(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*State)
		want string
	}{
		"ours":            {func(*State) {}, ""},
		"another process": {func(h *State) { h.PID++ }, "the handover is for process"},
		"another format":  {func(h *State) { h.Version++ }, "turnwarden 1.2.3 hands over in format 2, and "},
	} {
		t.Run(name, func(t *testing.T) {
			h := State{Version: Version, Build: "1.2.3", PID: os.Getpid(), By: "uid 0"}
			c.edit(&h)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			fd, err := unix.Dup(int(r.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			memory, err := Write(h, map[string]int{Lock: fd})
			if err != nil {
				t.Fatal(err)
			}
			defer memory.Close()
			theirs, err := unix.Dup(int(memory.Fd())) // it is closed by whoever inherits it
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv(Env, strconv.Itoa(theirs))
			from, err := Inherit(false)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("inherit = %v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if from.By != h.By || from.Build != h.Build {
				t.Errorf("inherited %+v", from.State)
			}
			f := from.File(Lock)
			if f == nil || from.File(Lock) != nil {
				t.Fatal("a file is handed out once")
			}
			defer f.Close()
			if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags != unix.FD_CLOEXEC {
				t.Errorf("children would have the file, too: %#x, %v", flags, err)
			}
			if _, set := os.LookupEnv(Env); set {
				t.Error("children would be told, too")
			}
		})
	}
	t.Setenv(Env, "soon")
	if _, err := Inherit(false); err == nil || !strings.Contains(err.Error(), "not for people to set") {
		t.Errorf("inherit = %v", err)
	}
	_ = os.Unsetenv(Env)
	if from, err := Inherit(false); err != nil || !from.Fresh() {
		t.Errorf("an ordinary start: %v, %v", from, err)
	}
}

// TestKept: what two versions must agree on is compared as far as both know of it.
func TestKept(t *testing.T) {
	h := &Inherited{State: State{Kept: map[string]string{"node": "a", "api.listen": "b", "gone": "c"}}}
	if err := h.Check(map[string]string{"node": "a", "api.listen": "b", "new": "d"}); err != nil {
		t.Error(err)
	}
	err := h.Check(map[string]string{"node": "z", "api.listen": "z"})
	if err == nil || !strings.Contains(err.Error(), "changed since turnwarden was started: api.listen, node;") {
		t.Errorf("check = %v", err)
	}
}
