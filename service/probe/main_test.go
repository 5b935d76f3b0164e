package probe_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/service/probe"
)

const helperTimeout = time.Second

// TestMain makes this binary its own helper: a process that probes the address
// it is given, to be stopped meanwhile as a starved one is.
func TestMain(m *testing.M) {
	if addr := os.Getenv("PROBE_HELPER"); addr != "" {
		ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
		defer cancel()
		e, _ := errors.AsType[*probe.Error](probe.Binding(ctx, netip.MustParseAddrPort(addr)))
		fmt.Println(e.Late)
		return
	}
	goleak.VerifyTestMain(m)
}
