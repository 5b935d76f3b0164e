package admin

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkListener refuses a socket that another user than turnwarden's may have put there:
// its listener, by the kernel's word, has to be root, the caller's own user, or the owner of
// a directory that nobody else can write to.
func checkListener(c net.Conn, socket string) error {
	peer, err := peerOf(c)
	if err != nil {
		return fmt.Errorf("see who listens on %s: %w", socket, err)
	}
	if peer.Uid == 0 || int(peer.Uid) == os.Geteuid() {
		return nil
	}
	dir := filepath.Dir(socket)
	var stat unix.Stat_t
	if err := unix.Stat(dir, &stat); err != nil {
		return fmt.Errorf("stat %s: %w", dir, err)
	}
	if stat.Uid == peer.Uid && stat.Mode&0o022 == 0 {
		return nil
	}
	return fmt.Errorf("found uid %d (pid %d) listening on %s; accepted: root, your own user, or the owner of %s if nobody else can write there; "+
		"what it says is not believed", peer.Uid, peer.Pid, socket, dir)
}
