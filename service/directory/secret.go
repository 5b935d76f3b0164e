package directory

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Secret is the credential "user:password" of the digest scheme. It shows itself in
// no format of fmt, slog, JSON or YAML.
type Secret string

const redacted = "***"

// Format covers every verb, also those for which fmt would not ask a Stringer.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue redacts the secret in slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText redacts the secret in JSON, YAML and slog's text handler.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ParseAuth reads the content of `registry.auth_file`.
func ParseAuth(content []byte) (Secret, error) {
	line := strings.TrimSpace(string(content))
	user, password, ok := strings.Cut(line, ":")
	if !ok || user == "" || password == "" || strings.ContainsAny(line, "\n\r") {
		return "", errors.New("registry.auth_file must hold one line, user:password")
	}
	return Secret(line), nil
}
