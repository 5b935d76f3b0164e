package credential_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// rapid's own default is 100; the command line still wins.
	_ = flag.Set("rapid.checks", "300")
	goleak.VerifyTestMain(m)
}
