package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
)

// listenAdmin opens the admin socket, mode 0600 from its first moment. Without a
// directory for the default one, as for an ordinary user, a node runs all the same.
func (h *Host) listenAdmin(ctx context.Context, from *handover.Inherited, logger *slog.Logger) (err error) {
	if h.Admin, err = from.Listener(handover.Admin); h.Admin != nil || err != nil || !from.Fresh() {
		return err
	}
	path := h.Config.Admin.Socket
	err = os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		h.Admin, err = listenUnix(ctx, path)
	}
	if err != nil && path == config.DefaultSocket {
		logger.Warn("no admin socket: no command can ask this turnwarden for anything; set admin.socket to a path of this node's own", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("admin.socket: %w; name a path in a directory that uid %d may write", err, os.Geteuid())
	}
	return nil
}

func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("%s is in use by another turnwarden", path)
	}
	switch there, statErr := os.Lstat(path); {
	case errors.Is(statErr, os.ErrNotExist):
	case statErr != nil:
		return nil, statErr
	case there.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s is no socket, and is left alone", path)
	case !errors.Is(err, unix.ECONNREFUSED): // somebody listens all the same
		return nil, err
	default: // a killed run has left it
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	defer unix.Umask(unix.Umask(0o177))
	return new(net.ListenConfig).Listen(ctx, "unix", path)
}
