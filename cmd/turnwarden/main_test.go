package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

const raceEnv, raceOptions = "GORACE", "atexit_sleep_ms=0"

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
	if description := os.Getenv(attackEnv); description != "" {
		attackMain(description)
		return
	}
	if body := os.Getenv(constantEnv); body != "" {
		constantMain(body)
		return
	}
	// A race-built process with a goroutine left sleeps for a second before it exits:
	// a command that asks for something short-lived would come too late.
	if err := os.Setenv(raceEnv, raceOptions); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"turnwarden": main})
}
