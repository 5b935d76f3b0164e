package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

func TestMintedFormat(t *testing.T) {
	// The contract's words: tw-, 10 hex digits of SHA-256(node), 26 of [A-Za-z0-9].
	username := regexp.MustCompile(`^tw-974cad2dd6-[A-Za-z0-9]{26}$`)
	password := regexp.MustCompile(`^[A-Za-z0-9]{26,}$`)
	seen, letters := map[string]bool{}, map[rune]int{}
	for id := range uint64(500) {
		g := mint("turn-1", id+1)
		if !username.MatchString(g.Username) || !password.MatchString(g.Password.Reveal()) {
			t.Fatalf("minted %q with a password of %d characters", g.Username, len(g.Password))
		}
		if !owns("turn-1", g.Username) || g.State != Pending || g.ID != id+1 || !g.Expires.IsZero() {
			t.Fatalf("minted generation %d in state %s", g.ID, g.State)
		}
		if seen[g.Username] || seen[g.Password.Reveal()] {
			t.Fatal("minted the same twice")
		}
		seen[g.Username], seen[g.Password.Reveal()] = true, true
		for _, c := range g.Password.Reveal() {
			letters[c]++
		}
	}
	// 16000 characters: 258 of each are expected, with a deviation of 16.
	for _, c := range alphabet {
		if n := letters[c]; n < 140 || n > 380 {
			t.Errorf("%q came %d times in 16000, want about 258", c, n)
		}
	}
}

func TestOwns(t *testing.T) {
	random := strings.Repeat("a", 26)
	for name, tc := range map[string]struct {
		node, username string
		want           bool
	}{
		"ours":                  {"turn-1", prefix("turn-1") + random, true},
		"of turn, asked turn-1": {"turn-1", prefix("turn") + random, false},
		"of turn-1, asked turn": {"turn", prefix("turn-1") + random, false},
		"an operator's":         {"turn", "alice", false},
		"empty":                 {"turn", "", false},
		"prefix alone":          {"turn", prefix("turn"), false},
		"one too short":         {"turn", prefix("turn") + random[1:], false},
		"one too long":          {"turn", prefix("turn") + random + "a", false},
		"another alphabet":      {"turn", prefix("turn") + random[1:] + "-", false},
		"a newline at the end":  {"turn", prefix("turn") + random[1:] + "\n", false},
		"in capitals":           {"turn", strings.ToUpper(prefix("turn")) + random, false},
	} {
		if got := owns(tc.node, tc.username); got != tc.want {
			t.Errorf("%s: owns(%q, %q) = %v", name, tc.node, tc.username, got)
		}
	}
}

// TestInvariant9SecretShowsItselfToNobody tries every verb of fmt, encoding/json
// and both handlers of slog, bare and as a field.
func TestInvariant9SecretShowsItselfToNobody(t *testing.T) {
	const password = "hunter2hunter2hunter2hunter2"
	c := Credential{Generation: 7, Username: "u", Password: Secret(password)}
	var out bytes.Buffer
	// Not %p: fmt asks no method about it, and vet refuses it.
	for verb := range strings.SplitSeq("v +v #v s q x X d t b o O c U e g T", " ") {
		for _, v := range []any{c.Password, &c.Password, c, &c, []Secret{c.Password}, map[string]Secret{"k": c.Password}} {
			fmt.Fprintf(&out, "%"+verb+"\n", v)
		}
	}
	fmt.Fprintln(&out, c, fmt.Errorf("rotate %v: %w", c, fmt.Errorf("%s", c.Password)))
	_ = json.NewEncoder(&out).Encode(c)
	_ = json.NewEncoder(&out).Encode(map[string]any{"p": c.Password})
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "password", c.Password, "credential", c, "pointer", &c, slog.Group("g", "password", c.Password))
	}
	for _, form := range []string{password, fmt.Sprintf("%x", password), fmt.Sprintf("%X", password), strings.Trim(fmt.Sprintf("%d", []byte(password)), "[]")} {
		if n := strings.Count(out.String(), form); n > 0 {
			at := strings.Index(out.String(), form)
			t.Errorf("the password shows %d times, first in %q", n, out.String()[max(0, at-60):at+len(form)])
		}
	}
	if !strings.Contains(out.String(), "***") {
		t.Error("nothing says that there was a password")
	}
	if c.Password.Reveal() != password {
		t.Error("Reveal does not")
	}
}
