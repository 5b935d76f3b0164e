package e2e

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestLogKeys holds the keys of all log lines against the list in docs/logs.md, which
// is what people search and parse by: none is missing there, and none is there for
// nothing.
func TestLogKeys(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "| Key |")
	known := map[string]bool{}
	for row := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cell, -1) {
			known[m[1]] = false
		}
	}
	calls := 0
	for _, call := range logCalls(t) {
		calls++
		for _, key := range call.keys {
			if _, ok := known[key]; !ok {
				t.Errorf("%s: key %q is not in docs/logs.md: use one that is there, or say there what it means", call.where, key)
			}
			known[key] = true
		}
	}
	for key, used := range known {
		if !used {
			t.Errorf("docs/logs.md: no line has the key %s", key)
		}
	}
	if calls < 60 {
		t.Errorf("only %d log calls found", calls)
	}
}

// TestLogsInDocs: what the documents have people look for in the log is in one of its
// messages. Not what turnserver says, which is looked for with grep -i, nor keys.
func TestLogsInDocs(t *testing.T) {
	var messages strings.Builder
	for _, call := range logCalls(t) {
		messages.WriteString(call.message + "\n")
	}
	found := 0
	for path, doc := range documents(t) {
		for _, m := range regexp.MustCompile(`(?m)^.*journalctl -u .* grep (?:-E )?'?([^-'\n][^'\n]*)`).FindAllStringSubmatch(doc, -1) {
			if regexp.MustCompile(`^[a-z]+=`).MatchString(m[1]) {
				continue
			}
			for words := range strings.SplitSeq(m[1], "|") {
				found++
				if words, _, _ = strings.Cut(words, ".*"); !strings.Contains(messages.String(), words) {
					t.Errorf("%s: %s: no message of the log has %q", path, m[0], words)
				}
			}
		}
	}
	if found < 10 {
		t.Errorf("%d found", found)
	}
}

type logCall struct {
	where   string
	message string // empty of With
	keys    []string
}

// logCalls finds every call of a logger in the code of this module.
func logCalls(t *testing.T) (all []logCall) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "realtest") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if args, ok := logArguments(call); ok {
					one := logCall{where: files.Position(call.Pos()).String(), keys: keysOf(t, files, args)}
					if before := len(call.Args) - len(args); before > 0 {
						if literal, ok := call.Args[before-1].(*ast.BasicLit); ok {
							one.message, _ = strconv.Unquote(literal.Value)
						}
					}
					all = append(all, one)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// logArguments are the keys and values of a call that logs. Loggers go by their names.
func logArguments(call *ast.CallExpr) (args []ast.Expr, ok bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !isLogger(method.X) {
		return nil, false
	}
	skip, ok := map[string]int{"With": 0, "Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3}[method.Sel.Name]
	if !ok || len(call.Args) < skip {
		return nil, false
	}
	return call.Args[skip:], true
}

func isLogger(x ast.Expr) bool {
	names := []string{"log", "logger", "Logger", "childLogger"}
	switch x := x.(type) {
	case *ast.Ident:
		return slices.Contains(names, x.Name)
	case *ast.SelectorExpr:
		return slices.Contains(names, x.Sel.Name)
	case *ast.CallExpr: // logger.With(...).Info(...), part("api").Info(...)
		if id, ok := x.Fun.(*ast.Ident); ok {
			return id.Name == "part"
		}
		_, ok := logArguments(x)
		return ok
	default:
		return false
	}
}

func keysOf(t *testing.T, files *token.FileSet, args []ast.Expr) (keys []string) {
	t.Helper()
	for i := 0; i < len(args); i += 2 {
		literal, ok := args[i].(*ast.BasicLit)
		if !ok {
			t.Errorf("%s: a key that is not written out", files.Position(args[i].Pos()))
			continue
		}
		key, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// TestQuietLog: a listed node that probes, measures and writes its record says nothing
// at info about it, nor does its turnserver.
func TestQuietLog(t *testing.T) {
	t.Parallel()
	h, _, _ := registered(t, options{})
	writes := func() float64 {
		n, err := strconv.ParseFloat(h.metric(t, `turnwarden_zookeeper_operations_total{operation="set"}`), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// The notices of the start are all there once a few records are written.
	begin := writes()
	written := func(n float64) {
		realtest.Eventually(t, 2*time.Minute, func() error {
			if now := writes(); now < begin+n {
				return fmt.Errorf("%v records written", now-begin)
			}
			return nil
		})
	}
	written(3)
	// On a busy machine a probe may be late, and say so; what a quiet node says it says in
	// each of these times.
	var said []string
	for range 4 {
		before := h.notices(t)
		begin = writes()
		written(23)
		after := h.notices(t)
		if said = after[len(before):]; len(said) == 0 {
			return
		}
	}
	t.Errorf("in a quiet time there was\n%s", strings.Join(said, ""))
}

// notices are the lines of the log from info on.
func (h *host) notices(t *testing.T) (lines []string) {
	t.Helper()
	for line := range strings.Lines(h.log(t)) {
		if !strings.Contains(line, "level=DEBUG") && strings.HasSuffix(line, "\n") {
			lines = append(lines, line)
		}
	}
	return lines
}
