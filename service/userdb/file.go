package userdb

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// ProgramLimit bounds one run of turnadmin or sqlite3, which take some 20 ms:
// a hanging one must not stop the rotation of credentials for ever.
const ProgramLimit = 10 * time.Second

// File is the sqlite file in which turnserver looks up its long-term users.
// Whatever reads or writes it runs as turnserver's own uid, so that the -wal
// and -shm files beside it stay turnserver's to write.
type File struct {
	Path  string              // as in turnserver.conf: userdb=
	Realm string              // as in turnserver.conf: realm=; no other realm's users are seen or touched
	As    *syscall.Credential // whom turnserver runs as; nil is our own uid
}

// Command is one run of a helper as turnserver's uid: no shell, no environment
// to leak or to obey, a process group of its own that ends with ctx.
func (f File) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: f.As}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// UID is whom a helper runs as.
func (f File) UID() uint32 {
	if f.As != nil {
		return f.As.Uid
	}
	return uint32(os.Getuid())
}
