package e2e

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

const raceEnv, raceOptions = "GORACE", "atexit_sleep_ms=0"

// inScript sets up a script, in which turnwarden is the one that the tests start.
func inScript(env map[string]string) func(*testscript.Env) error {
	return func(e *testscript.Env) error {
		e.Setenv("PATH", filepath.Dir(program())+string(filepath.ListSeparator)+e.Getenv("PATH"))
		e.Setenv(raceEnv, raceOptions)
		for key, value := range env {
			e.Setenv(key, value)
		}
		return nil
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: inScript(nil)})
}
