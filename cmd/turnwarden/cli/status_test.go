package cli

import (
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/transport"
)

func TestStatusInColour(t *testing.T) {
	for state, colour := range map[string]string{"up": "\x1b[1;32mup\x1b[0m", "full": "\x1b[1;33mfull\x1b[0m", "down": "\x1b[1;31mdown\x1b[0m"} {
		var b strings.Builder
		if err := writeStatus(&b, transport.Status{State: state}, true); err != nil || !strings.Contains(b.String(), colour) {
			t.Errorf("%s: %v\n%q", state, err, b.String())
		}
	}
}
