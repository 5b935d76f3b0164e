package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service"
)

// pathUpgrade is answered like the other routes, but not by one image of turnwarden: the
// reply that the old one begins the new one ends.
const pathUpgrade = "/v1/upgrade"

// Reply is an answer on the admin socket that outlives its server. A nil Reply goes to
// nobody.
type Reply struct {
	By   string
	conn net.Conn
}

// WithUpgrade adds an upgrade to what the admin socket offers.
func WithUpgrade(next http.Handler, upgrade func(*Reply)) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.Handle("POST "+pathUpgrade, onlyUs(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 4<<10))
		var conn net.Conn
		if err == nil {
			conn, _, err = http.NewResponseController(w).Hijack()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		peer := r.Context().Value(peerKey{}).(*unix.Ucred) // onlyUs has seen it
		reply := &Reply{By: fmt.Sprintf("uid %d", peer.Uid), conn: conn}
		reply.write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"))
		upgrade(reply)
	})))
	return mux
}

// ResumeReply goes on with a reply on its connection, which it takes over.
func ResumeReply(f *os.File) (*Reply, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("go on with a reply: %w", err)
	}
	return &Reply{conn: conn}, nil
}

// SyscallConn implements syscall.Conn.
func (r *Reply) SyscallConn() (syscall.RawConn, error) {
	c, ok := r.conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection of a reply is no file")
	}
	return c.SyscallConn()
}

// Step tells what has been done.
func (r *Reply) Step(s service.Step) {
	r.line(Step{Step: s.Name, Detail: s.Detail, Seconds: s.Took.Seconds(), Error: text(s.Err), Passing: s.Passing})
}

// Done ends the reply with the outcome.
func (r *Reply) Done(err error) {
	r.line(Step{Done: true, Error: text(err)})
	if r != nil {
		_ = r.conn.Close()
	}
}

func (r *Reply) line(s Step) {
	if r != nil {
		b, _ := json.Marshal(s) // strings and numbers always marshal
		r.write(append(b, '\n'))
	}
}

// write does not wait for whoever does not read; what was asked goes on.
func (r *Reply) write(b []byte) {
	_ = r.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = r.conn.Write(b)
}
