package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be turnwarden itself, for scripts and for the
// daemons of the end-to-end tests.
func TestMain(m *testing.M) {
	if os.Getenv("TURNWARDEN_TEST_RUN_MAIN") == "1" {
		main()
		return
	}
	if version := os.Getenv(fakeEnv); version != "" {
		fakeCoturnMain(version)
		return
	}
	testscript.Main(m, map[string]func(){"turnwarden": main})
}
