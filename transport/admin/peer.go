package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

type peerKey struct{}

// ConnContext keeps who has connected, by the kernel's word, for the handler.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	peer, err := peerOf(c)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer)
}

func peerOf(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	if controlErr := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); controlErr != nil {
		return nil, controlErr
	}
	return peer, err
}

// onlyUs turns away whoever has got hold of the socket and is neither root nor our user.
func onlyUs(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, ok := r.Context().Value(peerKey{}).(*unix.Ucred)
		if !ok || peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
			http.Error(w, "only root and the user of turnwarden may use the admin socket", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
