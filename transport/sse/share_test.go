package sse_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/turnwarden/turnwarden/transport/sse"
)

// TestReadersShare: a caller, by its token or its network, has an eighth of the streams.
func TestReadersShare(t *testing.T) {
	r := sse.NewReaders(64)
	enter := func(remote, token string) (func(), bool) {
		request := httptest.NewRequest("GET", "/events", nil)
		request.RemoteAddr = remote
		if token != "" {
			request = sse.WithCaller(request, token)
		}
		return r.Enter(httptest.NewRecorder(), request)
	}
	var leave []func()
	for _, c := range []struct{ remote, token string }{{"192.0.2.%d:1", ""}, {"[2001:db8::%d]:1", ""}, {"198.51.%d.1:1", "token a"}} {
		in := 0
		for i := range 33 {
			if out, ok := enter(fmt.Sprintf(c.remote, i), c.token); ok {
				in++
				leave = append(leave, out)
			}
		}
		if in != 8 {
			t.Errorf("%s %s has %d streams, want 8", c.remote, c.token, in)
		}
	}
	if _, ok := enter("203.0.113.1:1", ""); !ok {
		t.Error("another is locked out")
	}
	for _, out := range leave {
		out()
	}
	if _, ok := enter("192.0.2.1:1", ""); !ok {
		t.Error("who has left may not come again")
	}
}
