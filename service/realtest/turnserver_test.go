package realtest_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/realtest"
)

func TestTurnServer(t *testing.T) {
	s := realtest.StartTurnServer(t, realtest.TurnOptions{})
	s.AddUser(t, "alice", "secret")
	s.DeleteUser(t, "alice")
	s.Pause(t)
	s.Cont(t)
	first := s.PID()
	s.Kill(t)
	<-s.Exited()
	s.Start(t)
	if s.PID() == first {
		t.Errorf("pid after the second start: still %d", first)
	}
	// coturn opens such a file unless told where to log before it logs.
	if stray, _ := filepath.Glob(fmt.Sprintf("/var/log/turn_%d_*", s.PID())); stray != nil {
		t.Errorf("left behind: %v", stray)
	}
	s.Stop(t)
	s.Stop(t) // ending what has ended is no error
	if log := s.Log(t); strings.Count(log, "Total General servers") != 2 {
		t.Errorf("log does not show two starts:\n%s", log)
	}
}
