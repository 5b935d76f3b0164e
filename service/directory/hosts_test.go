package directory

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// nextRound returns the addresses of one time round and whether there was a pause
// before the first.
func nextRound(h *hosts) (addrs []string, pause bool) {
	addr, pause := h.Next()
	addrs = append(addrs, addr)
	for range h.Len() - 1 {
		addr, _ := h.Next()
		addrs = append(addrs, addr)
	}
	slices.Sort(addrs)
	return addrs, pause
}

func TestHostsResolveAnew(t *testing.T) {
	var answer []string
	h := &hosts{ctx: t.Context(), known: make(map[string][]string), servers: []string{"zk:2181", "10.0.0.9:2182", "[::1]:2183"}}
	h.lookup = func(_ context.Context, host string) ([]string, error) {
		if host != "zk" {
			t.Errorf("looked up %q, which is no name", host)
		}
		if answer == nil {
			return nil, errors.New("no such host")
		}
		return answer, nil
	}
	for i, test := range []struct{ answer, want []string }{
		{nil, []string{"zk:2181"}},
		{[]string{"10.0.0.1", "10.0.0.2"}, []string{"10.0.0.1:2181", "10.0.0.2:2181"}},
		{[]string{"10.0.0.3"}, []string{"10.0.0.3:2181"}},
		{nil, []string{"10.0.0.3:2181"}}, // DNS is away.
	} {
		answer = test.answer
		want := append(test.want, "10.0.0.9:2182", "[::1]:2183")
		slices.Sort(want)
		got, pause := nextRound(h)
		if !slices.Equal(got, want) {
			t.Errorf("round %d: %q, want %q", i, got, want)
		}
		if pause != (i > 0) {
			t.Errorf("round %d: pause %v, want one before each round but the first", i, pause)
		}
	}
	if name := h.names["10.0.0.3:2181"]; name != "zk" {
		t.Errorf("TLS would verify %q, want zk", name)
	}
}

func TestHostsPauseAfterALostSession(t *testing.T) {
	h := &hosts{ctx: t.Context(), servers: []string{"10.0.0.1:1"}}
	for i, want := range []bool{false, true, true} {
		if _, pause := h.Next(); pause != want {
			t.Errorf("attempt %d: pause %v, want %v", i, pause, want)
		}
		h.Connected()
	}
	h.servers = append(h.servers, "10.0.0.2:1")
	h.Next()
	h.Next()
	h.Connected()
	if _, pause := h.Next(); pause {
		t.Error("a pause before the other server of two")
	}
	if _, pause := h.Next(); !pause {
		t.Error("no pause before the server that dropped us")
	}
}

func TestHostsAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := &hosts{ctx: ctx, servers: []string{"10.0.0.1:1"}}
	if _, pause := h.Next(); !pause {
		t.Error("no pause, in which the library would see that it was closed")
	}
}
