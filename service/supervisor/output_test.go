package supervisor_test

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/turnwarden/turnwarden/service/supervisor"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 4<<10)
	tests := map[string]struct {
		in   string
		want []string
	}{
		"nothing":             {"", nil},
		"lines":               {"a\nb\n", []string{"a", "b"}},
		"no end":              {"a\nb", []string{"a", "b"}},
		"empty lines":         {"\n\na\n\r\n", []string{"a"}},
		"carriage return":     {"a\r\nb\rc\n", []string{"a", "b\rc"}},
		"just not too long":   {long + "\nb\n", []string{long, "b"}},
		"too long":            {long + "yz\nb\n", []string{long, "b"}},
		"longer than a pipe":  {strings.Repeat(long, 50) + "\nb\n", []string{long, "b"}},
		"of exactly a buffer": {strings.Repeat(long, 16) + "\nb\n", []string{long, "b"}},
		"too long, no end":    {strings.Repeat(long, 50), []string{long}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				var got []string
				supervisor.ReadLines(r, func(line []byte) { got = append(got, string(line)) })
				if !slices.Equal(got, tt.want) {
					t.Errorf("got %.60q, want %.60q", got, tt.want)
				}
			}
		})
	}
}

func TestLinesDoesNotAllocatePerLine(t *testing.T) {
	r := strings.NewReader(storm)
	allocs := testing.AllocsPerRun(5, func() {
		r.Reset(storm)
		supervisor.ReadLines(r, func([]byte) {})
	})
	if allocs > 5 {
		t.Errorf("%v allocations for %d lines", allocs, strings.Count(storm, "\n"))
	}
}

// storm is a tenth of what one Allocate writes when the relay address is not local.
var storm = strings.Repeat("0: : ERROR: Trying to bind fd 42 to <192.0.2.1:49152>: errno=99\n", 13_107)

// BenchmarkLines reads from a real pipe; Discard is how fast that can be at all.
func BenchmarkLines(b *testing.B) {
	readers := map[string]func(io.Reader){
		"Lines": func(r io.Reader) { supervisor.ReadLines(r, func([]byte) {}) },
		"Discard": func(r io.Reader) {
			_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, 64<<10))
		},
	}
	for name, read := range readers {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(storm)))
			for b.Loop() {
				r, w, err := os.Pipe()
				if err != nil {
					b.Fatal(err)
				}
				go func() {
					_, _ = io.WriteString(w, storm)
					_ = w.Close()
				}()
				read(r)
				_ = r.Close()
			}
		})
	}
}
