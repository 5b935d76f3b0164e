package directory

import (
	"encoding/binary"
	"net"
	"sync"
)

// Saved is a ZooKeeper session as its server knows it. Whoever has both goes on with it
// on a connection of his own: its nodes stay, and nobody who watches them is told
// anything.
type Saved struct {
	ID       int64
	Password []byte
}

// Save returns the session for the next image of this process, nil while there is none.
// Before ZooKeeper has answered that is the one that this image was to go on with.
func (s *Session) Save() *Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return s.resume
	}
	return s.link.identity.known()
}

// Resume has Run go on with a session, or begin a new one where that has expired. It is
// called before Run.
func (s *Session) Resume(saved *Saved) { s.resume = saved }

// identity is what the client library keeps to itself of a session. Both are at fixed
// places in the one message each side begins with, which ZooKeeper 3.0 to 3.9 have in
// common.
type identity struct {
	resume *Saved // to be asked for until the library has a session

	mu  sync.Mutex
	own *Saved
}

func (i *identity) known() *Saved {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.own
}

// The messages of the handshake: behind its length, the request has a version (4 bytes),
// a zxid (8), the timeout (4), the session's id (8), and the length (4) and bytes of its
// password; the answer has a version (4), the timeout (4), and the last three as well.
const (
	requestID      = 4 + 4 + 8 + 4
	answerID       = 4 + 4 + 4
	passwordLength = 16
	identityLength = 8 + 4 + passwordLength
)

func (i *identity) conn(c net.Conn) net.Conn { return &handshakeConn{Conn: c, identity: i} }

// handshakeConn looks at the first message each way. The library sends and receives one
// after the other, in one goroutine.
type handshakeConn struct {
	net.Conn
	identity *identity
	asked    bool
	answer   []byte // as far as it has been read
}

// Write sends the request. One that asks for a new session asks for ours instead.
func (c *handshakeConn) Write(b []byte) (int, error) {
	if saved := c.identity.resume; !c.asked && saved != nil && len(b) >= requestID+identityLength &&
		binary.BigEndian.Uint64(b[requestID:]) == 0 {
		b = append([]byte(nil), b...)
		(*saved).put(b[requestID:])
	}
	c.asked = true
	return c.Conn.Write(b)
}

func (s Saved) put(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(s.ID))
	copy(b[8+4:][:passwordLength], s.Password)
}

// Read keeps the answer. An expired session is answered with the id 0.
func (c *handshakeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if missing := answerID + identityLength - len(c.answer); missing > 0 && n > 0 {
		c.answer = append(c.answer, b[:min(n, missing)]...)
		if at := c.answer[min(len(c.answer), answerID):]; len(at) == identityLength {
			if id := int64(binary.BigEndian.Uint64(at)); id != 0 {
				c.identity.mu.Lock()
				c.identity.own = &Saved{ID: id, Password: at[8+4:]}
				c.identity.mu.Unlock()
			}
		}
	}
	return n, err
}
