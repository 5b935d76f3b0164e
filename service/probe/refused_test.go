package probe_test

import (
	"slices"
	"testing"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestRefusedIsTold: whoever counts refusals hears of each that is ours, and not of
// the challenge, which is none.
func TestRefusedIsTold(t *testing.T) {
	free := realtest.StartTurnServer(t, realtest.TurnOptions{})
	full := realtest.StartTurnServer(t, realtest.TurnOptions{Lines: []string{"total-quota=1"}})
	for _, s := range []*realtest.TurnServer{free, full} {
		s.AddUser(t, "alice", password)
	}
	defer hold(t, full.Addr, "alice")()
	for name, tt := range map[string]struct {
		server   *realtest.TurnServer
		password string
		want     []int
	}{
		"granted":        {free, password, nil},
		"wrong password": {free, "x", []int{401}},
		"full":           {full, password, []int{486}},
	} {
		var told []int
		l := probe.Listener{Transport: probe.UDP, Addr: tt.server.Addr, Refused: func(code int) { told = append(told, code) }}
		if _, err := l.Allocate(t.Context(), "alice", tt.password); (err == nil) != (tt.want == nil) || !slices.Equal(told, tt.want) {
			t.Errorf("%s: told %v, want %v; %v", name, told, tt.want, err)
		}
	}
}
