package probe

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/pion/stun/v4"
)

// firstRTO is how long the first datagram waits before it is sent again, and
// each next one twice as long. RFC 8489 6.2.1 asks for 500 ms between unknown
// hosts; this server is local or near, and a lost datagram must not cost a stage
// its short deadline.
const firstRTO = 200 * time.Millisecond

// session is one client of the server: its socket, and what the server knows it by.
type session struct {
	addr    netip.AddrPort
	conn    net.Conn
	in      *bufio.Reader // of a stream; nil = datagrams
	realm   stun.Realm
	nonce   stun.Nonce
	refused func(code int)        // nil = nobody wants to know
	auth    []stun.Setter         // what an authenticated request carries
	key     stun.MessageIntegrity // what an answer to it is signed with
}

func newSession(addr netip.AddrPort, conn net.Conn) *session {
	s := &session{addr: addr, conn: conn}
	if _, datagrams := conn.(*net.UDPConn); !datagrams {
		s.stream(conn)
	}
	return s
}

func (s *session) stream(conn net.Conn) { s.conn, s.in = conn, bufio.NewReader(conn) }

func (s *session) close() { _ = s.conn.Close() }

// request performs one transaction. It returns the response with the error that
// a refusal is, because a 401 carries what the next request needs.
func (s *session) request(ctx context.Context, stage string, method stun.Method, attrs ...stun.Setter) (*stun.Message, error) {
	head := []stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}
	msg, err := stun.Build(slices.Concat(head, attrs, s.auth, []stun.Setter{stun.Fingerprint})...)
	if err != nil {
		return nil, &Error{Stage: stage, Err: fmt.Errorf("build request: %w", err)}
	}
	// A stream loses nothing (RFC 8489 6.2.2).
	answer, err := s.exchange(ctx, stage, msg, s.in == nil, func(m *stun.Message) bool {
		return m.TransactionID == msg.TransactionID
	})
	if err != nil {
		return nil, err
	}
	if answer.Type.Class != stun.ClassSuccessResponse {
		err := refusal(stage, s.addr, answer)
		if challenge := s.auth == nil && code(err) == int(stun.CodeUnauthorized); s.refused != nil && !challenge {
			s.refused(code(err))
		}
		return answer, err
	}
	// Only a server that knows the credential can sign; a refusal is unsigned.
	if s.key != nil {
		if err := s.key.Check(answer); err != nil {
			return nil, &Error{Stage: stage, Err: fmt.Errorf("check signature of %s: %w", s.addr, err)}
		}
	}
	return answer, nil
}

// exchange sends msg, where it may be lost again and again, until an answer to it
// arrives or ctx ends. It sends at least once, even when ctx has ended, so that
// giving an allocation back never depends on the time left.
func (s *session) exchange(ctx context.Context, stage string, msg *stun.Message, repeat bool, isAnswer func(*stun.Message) bool) (*stun.Message, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var late time.Duration
	for rto := firstRTO; ; rto *= 2 {
		if _, err := s.conn.Write(msg.Raw); err != nil {
			return nil, noAnswer(ctx, stage, s.addr, err)
		}
		var again time.Time
		if repeat {
			again = time.Now().Add(rto)
		}
		_ = s.conn.SetReadDeadline(again)
		answer, err := s.read(ctx, isAnswer)
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			e := noAnswer(ctx, stage, s.addr, ctx.Err())
			e.Late = max(late, e.Late)
			return nil, e
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, noAnswer(ctx, stage, s.addr, err)
		}
		late = max(late, time.Since(again))
	}
}

// read returns the next message that is an answer.
func (s *session) read(ctx context.Context, isAnswer func(*stun.Message) bool) (*stun.Message, error) {
	for {
		// Here, after the deadline was set: had ctx ended before, its own deadline
		// in the past would have been overwritten and the end gone unnoticed.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data, err := s.receive()
		if err != nil {
			return nil, err
		}
		m := new(stun.Message)
		if _, err := m.Write(data); err == nil && isAnswer(m) {
			return m, nil
		}
	}
}

// stunHeader is the length of what every message begins with.
const stunHeader = 20

// receive returns the next datagram, or cuts the next message from a stream. What
// a deadline has cut in two is whole at the next call.
func (s *session) receive() ([]byte, error) {
	if s.in == nil {
		buf := make([]byte, 1<<16)
		n, err := s.conn.Read(buf)
		return buf[:n], err
	}
	head, err := s.in.Peek(stunHeader)
	if err != nil {
		return nil, err
	}
	if !stun.IsMessage(head) {
		return nil, fmt.Errorf("it speaks something other than STUN: %q", head)
	}
	n := stunHeader + int(binary.BigEndian.Uint16(head[2:]))
	data, err := s.in.Peek(n)
	if err != nil {
		return nil, err
	}
	data = slices.Clone(data)
	_, err = s.in.Discard(n)
	return data, err
}

// noAnswer measures how long after the end of ctx it is called: a process that is
// starved cannot tell whether the server answered in time.
func noAnswer(ctx context.Context, stage string, addr netip.AddrPort, cause error) *Error {
	e := &Error{Stage: stage, Err: fmt.Errorf("%w from %s: %w", ErrNoAnswer, addr, cause)}
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() != nil {
		e.Late = time.Since(deadline)
	}
	return e
}
