package e2e

import (
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// call is a client with an allocation that it refreshes by hand, to see the codes.
type call struct {
	conn      net.Conn
	user      stun.Username
	realm     stun.Realm
	nonce     stun.Nonce
	integrity stun.MessageIntegrity
}

// newCall connects, and asks for nothing yet.
func newCall(t testing.TB, network, addr string, s seed) *call {
	t.Helper()
	return callOver(t, net.Dialer{}, network, addr, s)
}

func callOver(t testing.TB, from net.Dialer, network, addr string, s seed) *call {
	t.Helper()
	conn, err := from.DialContext(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &call{
		conn: conn, user: stun.NewUsername(s.UserID), realm: stun.NewRealm(realtest.Realm),
		integrity: stun.NewLongTermIntegrity(s.UserID, realtest.Realm, s.Password),
	}
}

// dialCall opens a call with the credential.
func dialCall(t testing.TB, addr string, s seed) *call {
	t.Helper()
	c := newCall(t, "udp", addr, s)
	if code := c.request(t, stun.MethodAllocate, requestedUDP{}); code != 0 {
		t.Fatalf("allocate: %d", code)
	}
	return c
}

type requestedUDP struct{}

func (requestedUDP) AddTo(m *stun.Message) error {
	m.Add(stun.AttrRequestedTransport, []byte{17, 0, 0, 0})
	return nil
}

type peerAddress struct{}

func (peerAddress) AddTo(m *stun.Message) error {
	return stun.XORMappedAddress{IP: net.IPv4(127, 0, 0, 1), Port: 9}.AddToAs(m, stun.AttrXORPeerAddress)
}

// request asks until it is answered, follows a new nonce, and returns the error code,
// 0 for a success, -1 without an answer.
func (c *call) request(t testing.TB, method stun.Method, more ...stun.Setter) int {
	t.Helper()
	for range 4 {
		setters := append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, more...)
		if len(c.nonce) > 0 {
			setters = append(setters, c.user, c.realm, c.nonce, c.integrity)
		}
		m, err := stun.Build(setters...)
		if err != nil {
			t.Error(err)
			return -1
		}
		answer := c.exchange(m)
		if answer == nil {
			return -1
		}
		if answer.Type.Class == stun.ClassSuccessResponse {
			return 0
		}
		var code stun.ErrorCodeAttribute
		if err := code.GetFrom(answer); err != nil {
			t.Error(err)
			return -1
		}
		first := len(c.nonce) == 0
		var nonce stun.Nonce
		if nonce.GetFrom(answer) == nil {
			c.nonce = nonce
		}
		if code.Code == stun.CodeStaleNonce || code.Code == stun.CodeUnauthorized && first {
			continue
		}
		return int(code.Code)
	}
	return int(stun.CodeStaleNonce)
}

// exchange returns the answer, nil without one.
func (c *call) exchange(m *stun.Message) *stun.Message {
	buf := make([]byte, 2048)
	for range 10 {
		if _, err := c.conn.Write(m.Raw); err != nil {
			return nil // a session over TCP that was ended takes its connection along
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, err := c.conn.Read(buf)
		if err != nil {
			continue
		}
		answer := &stun.Message{Raw: append([]byte{}, buf[:n]...)}
		if answer.Decode() == nil && answer.TransactionID == m.TransactionID {
			return answer
		}
	}
	return nil
}

func (c *call) refresh(t testing.TB) int { t.Helper(); return c.request(t, stun.MethodRefresh) }

// open opens n calls, as the clients of the node.
func (h *host) open(t *testing.T, n int) (calls []*call) {
	t.Helper()
	s := mustFetch(t, h.rest())
	for range n {
		calls = append(calls, dialCall(t, h.addr().String(), s))
	}
	return calls
}

// hangUp ends calls as a client does.
func hangUp(t *testing.T, calls []*call) {
	t.Helper()
	for i, c := range calls {
		if code := c.request(t, stun.MethodRefresh, stun.RawAttribute{Type: stun.AttrLifetime, Value: make([]byte, 4)}); code != 0 {
			t.Errorf("call %d cannot be ended: %d", i, code)
		}
	}
}

// alive has every call be refreshed.
func alive(t *testing.T, calls []*call) {
	t.Helper()
	for i, c := range calls {
		if code := c.refresh(t); code != 0 {
			t.Errorf("call %d of %d is cut: refresh answered %d", i, len(calls), code)
		}
	}
}
