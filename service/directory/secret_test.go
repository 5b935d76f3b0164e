package directory_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/directory"
)

func TestSecretShowsItselfNowhere(t *testing.T) {
	const secret = directory.Secret("user:hunter2")
	cfg := directory.Config{Auth: secret}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+"\n", secret)
		fmt.Fprintf(&out, verb+"\n", cfg)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secret, "cfg", cfg)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", secret, "cfg", cfg)
	if err := json.NewEncoder(&out).Encode(map[string]any{"a": secret, "b": cfg}); err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{"hunter2", "user", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2")} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("%q is shown in:\n%s", shown, out.String())
		}
	}
}

func TestParseAuth(t *testing.T) {
	for in, want := range map[string]directory.Secret{
		"user:password":        "user:password",
		"user:pass:word\n":     "user:pass:word",
		"":                     "",
		"user":                 "",
		"user:":                "",
		":password":            "",
		"user:one\nuser:two\n": "",
	} {
		got, err := directory.ParseAuth([]byte(in))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ParseAuth(%q) = %q, %v, want %q", in, string(got), err, string(want))
		}
		if err != nil && strings.Contains(err.Error(), "one\n") {
			t.Errorf("the error shows the content: %v", err)
		}
	}
}
