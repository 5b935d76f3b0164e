package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binaryEnv names the turnwarden that the tests start, by that name; without it they build
// one.
const binaryEnv = "TURNWARDEN_BINARY"

// scratch is a directory that the tests share.
var scratch string

// TestMain has the test binary play the programs that are not turnwarden.
func TestMain(m *testing.M) {
	for env, play := range map[string]func(string){fakeEnv: fakeCoturnMain, attackEnv: attackMain, constantEnv: constantMain} {
		if part := os.Getenv(env); part != "" {
			play(part)
			return
		}
	}
	code := 1
	defer func() { os.Exit(code) }()
	// A race-built process with a goroutine left sleeps for a second before it exits:
	// a command that asks for something short-lived would come too late.
	if err := os.Setenv(raceEnv, raceOptions); err != nil {
		panic(err)
	}
	var err error
	if scratch, err = os.MkdirTemp("", "turnwarden"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(scratch)
	code = m.Run()
}

// program builds turnwarden as the tests are built, once, and returns its path.
var program = sync.OnceValue(func() string {
	if path := os.Getenv(binaryEnv); path != "" {
		return path
	}
	path := filepath.Join(scratch, "turnwarden")
	out, err := exec.Command("go", "build", "-buildvcs=false", fmt.Sprintf("-race=%t", detector), "-o", path, "..").CombinedOutput()
	if err != nil {
		panic(fmt.Sprintf("build turnwarden: %v\n%s", err, out))
	}
	return path
})
