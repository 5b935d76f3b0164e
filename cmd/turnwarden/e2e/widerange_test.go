package e2e

import "testing"

// TestWideRange: where the relay range has turnserver's own port in it and there is no CLI
// to ask, its listeners are no calls.
func TestWideRange(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{conf: []string{"min-port=1024", "max-port=65535"}, set: map[string]string{"coturn.cli": "false"}})
	h.serve(t)
	if out, code := h.ask(t, "drain", "--then=hold", "--no-lock", "--deadline=30s"); code != 0 {
		t.Errorf("a drain of nobody: exit code %d\n%s", code, out)
	}
	if n := h.metric(t, "turnwarden_allocations"); n != "0" {
		t.Errorf("%s allocations of nobody", n)
	}
}
