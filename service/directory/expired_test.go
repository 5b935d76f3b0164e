package directory

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// shake answers the handshake of one client as ZooKeeper does; a session of 0 is
// one that has expired.
func shake(c net.Conn, session uint64) error {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
		return err
	}
	answer := binary.BigEndian.AppendUint32(nil, 36) // the length of the rest
	answer = binary.BigEndian.AppendUint32(answer, 0)
	answer = binary.BigEndian.AppendUint32(answer, 10_000) // the timeout
	answer = binary.BigEndian.AppendUint64(answer, session)
	answer = binary.BigEndian.AppendUint32(answer, 16) // the length of the password
	_, err := c.Write(append(answer, make([]byte, 16)...))
	return err
}

// TestExpiredByServer plays the server, for with a real one it is a matter of chance
// who ends a session first.
func TestExpiredByServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", realtest.Loopback(t)+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := New(Config{Servers: []string{l.Addr().String()}, SessionTimeout: 10 * time.Second, ACL: ACLOpen},
		slog.New(slog.DiscardHandler), Metrics{Operations: discard.NewCounter(), Failures: discard.NewCounter()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	for _, step := range []struct {
		session uint64
		want    Status
	}{
		{1, Status{State: Connected}},
		{0, Status{State: Expired, Expirations: 1}},
		{2, Status{State: Connected, Expirations: 1}},
	} {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := shake(c, step.session); err != nil {
			t.Fatal(err)
		}
		realtest.Eventually(t, 20*time.Second, func() error {
			if got := s.Status(); got.State != step.want.State || got.Expirations != step.want.Expirations {
				return errors.New("status " + string(got.State) + ", want " + string(step.want.State))
			}
			return nil
		})
		_ = c.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
}
