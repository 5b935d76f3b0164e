package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/pion/stun/v4"
)

// firstRTO is how long the first datagram waits before it is sent again, and
// each next one twice as long. RFC 8489 6.2.1 asks for 500 ms between unknown
// hosts; this server is local or near, and a lost datagram must not cost a stage
// its short deadline.
const firstRTO = 200 * time.Millisecond

// session is one client of the server: a socket, and so a source port, of its
// own. coturn pins the user name to the socket, even after a failed attempt, so
// that no session ever serves two credentials (437 otherwise); and a fixed
// source port could never see a second server that shares the port through
// SO_REUSEPORT, because the kernel hashes it to the same one each time.
type session struct {
	addr netip.AddrPort
	conn *net.UDPConn
	auth []stun.Setter         // what an authenticated request carries
	key  stun.MessageIntegrity // what an answer to it is signed with
}

func dial(addr netip.AddrPort, stage string) (*session, error) {
	// A connected socket learns from ICMP that nobody listens, at once.
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return nil, &Error{Stage: stage, Err: fmt.Errorf("%w %s: %w", errLocal, addr, err)}
	case err != nil:
		return nil, noAnswer(stage, addr, err)
	}
	return &session{addr: addr, conn: conn}, nil
}

func (s *session) close() { _ = s.conn.Close() }

// request performs one transaction. It returns the response with the error that
// a refusal is, because a 401 carries what the next request needs.
func (s *session) request(ctx context.Context, stage string, method stun.Method, attrs ...stun.Setter) (*stun.Message, error) {
	head := []stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}
	msg, err := stun.Build(slices.Concat(head, attrs, s.auth, []stun.Setter{stun.Fingerprint})...)
	if err != nil {
		return nil, &Error{Stage: stage, Err: fmt.Errorf("build request: %w", err)}
	}
	answer, err := s.exchange(ctx, stage, msg, func(m *stun.Message) bool {
		return m.TransactionID == msg.TransactionID
	})
	if err != nil {
		return nil, err
	}
	if answer.Type.Class != stun.ClassSuccessResponse {
		return answer, refusal(stage, s.addr, answer)
	}
	// Only a server that knows the credential can sign; a refusal is unsigned.
	if s.key != nil {
		if err := s.key.Check(answer); err != nil {
			return nil, &Error{Stage: stage, Err: fmt.Errorf("check signature of %s: %w", s.addr, err)}
		}
	}
	return answer, nil
}

// exchange sends msg, again and again, until an answer to it arrives or ctx
// ends. It sends at least once, even when ctx has ended, so that giving an
// allocation back never depends on the time left.
func (s *session) exchange(ctx context.Context, stage string, msg *stun.Message, isAnswer func(*stun.Message) bool) (*stun.Message, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var late time.Duration
	for rto := firstRTO; ; rto *= 2 {
		if _, err := s.conn.Write(msg.Raw); err != nil {
			return nil, noAnswer(stage, s.addr, err)
		}
		again := time.Now().Add(rto)
		_ = s.conn.SetReadDeadline(again)
		answer, err := s.read(ctx, isAnswer)
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			if deadline, ok := ctx.Deadline(); ok {
				late = max(late, time.Since(deadline))
			}
			e := noAnswer(stage, s.addr, ctx.Err())
			e.Late = late
			return nil, e
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, noAnswer(stage, s.addr, err)
		}
		late = max(late, time.Since(again))
	}
}

// read returns the next message that is an answer.
func (s *session) read(ctx context.Context, isAnswer func(*stun.Message) bool) (*stun.Message, error) {
	buf := make([]byte, 1<<16)
	for {
		// Here, after the deadline was set: had ctx ended before, its own deadline
		// in the past would have been overwritten and the end gone unnoticed.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := s.conn.Read(buf)
		if err != nil {
			return nil, err
		}
		m := new(stun.Message)
		if _, err := m.Write(buf[:n]); err == nil && isAnswer(m) {
			return m, nil
		}
	}
}

func noAnswer(stage string, addr netip.AddrPort, cause error) *Error {
	return &Error{Stage: stage, Err: fmt.Errorf("%w from %s: %w", ErrNoAnswer, addr, cause)}
}
