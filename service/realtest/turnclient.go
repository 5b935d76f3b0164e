package realtest

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// TurnClient is one 5-tuple: coturn ties a user to it for good.
type TurnClient struct {
	Conn  net.Conn
	user  stun.Username
	key   stun.MessageIntegrity
	realm stun.Realm
	nonce stun.Nonce
}

// udpTransport asks for a relay over UDP (RFC 8656, section 18.7).
var udpTransport = stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}

// NewTurnClient asks the server as a stranger for realm and nonce.
func NewTurnClient(t testing.TB, network, server, username, password string) *TurnClient {
	t.Helper()
	conn, err := net.Dial(network, server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &TurnClient{Conn: conn}
	answer, err := c.ask(stun.MethodAllocate, udpTransport)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Parse(&c.realm, &c.nonce); err != nil {
		t.Fatal(err)
	}
	c.user = stun.NewUsername(username)
	c.key = stun.NewLongTermIntegrity(username, c.realm.String(), password)
	return c
}

// Allocate wants an allocation, or this error code.
func (c *TurnClient) Allocate(code stun.ErrorCode) error {
	return c.want(code, stun.MethodAllocate, udpTransport)
}

// Refresh wants its allocation to go on, or this error code.
func (c *TurnClient) Refresh(code stun.ErrorCode) error { return c.want(code, stun.MethodRefresh) }

func (c *TurnClient) want(code stun.ErrorCode, method stun.Method, attrs ...stun.Setter) error {
	for {
		answer, err := c.ask(method, append(attrs, c.user, c.realm, c.nonce, c.key)...)
		if err != nil {
			return err
		}
		var got stun.ErrorCodeAttribute
		if answer.Type.Class == stun.ClassErrorResponse {
			if err := got.GetFrom(answer); err != nil {
				return err
			}
		}
		if got.Code == stun.CodeStaleNonce && c.nonce.GetFrom(answer) == nil {
			continue // as RFC 8489, section 9.2.5, asks of every client
		}
		if got.Code != code {
			return fmt.Errorf("%v: got error %v, want %d", method, got, code)
		}
		return nil
	}
}

// ask sends the request until it is answered: a busy server loses datagrams.
func (c *TurnClient) ask(method stun.Method, attrs ...stun.Setter) (*stun.Message, error) {
	request, err := stun.Build(append([]stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}, attrs...)...)
	if err != nil {
		return nil, err
	}
	for range 10 {
		if _, err = c.Conn.Write(request.Raw); err != nil {
			return nil, err
		}
		var answer *stun.Message
		if answer, err = c.read(request.TransactionID); err == nil {
			return answer, nil
		}
	}
	return nil, err
}

func (c *TurnClient) read(id [stun.TransactionIDSize]byte) (*stun.Message, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return nil, err
	}
	for buf := make([]byte, 1500); ; {
		n, err := c.Conn.Read(buf)
		if err != nil {
			return nil, err
		}
		answer := new(stun.Message)
		if _, err := answer.Write(buf[:n]); err == nil && answer.TransactionID == id {
			return answer, nil
		}
	}
}
