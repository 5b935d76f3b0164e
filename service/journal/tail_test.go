package journal_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/turnwarden/turnwarden/service/journal"
)

func said(lines [][]byte) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(string(l) + " ")
	}
	return strings.TrimSpace(b.String())
}

func TestTail(t *testing.T) {
	tail := journal.NewTail()
	if lines, _, _ := tail.Last(10, false); len(lines) != 0 {
		t.Errorf("before the first: %s", said(lines))
	}
	for i := range 2500 {
		fmt.Fprintf(tail, "%d\n", i)
	}
	if lines, _, _ := tail.Last(3, false); said(lines) != "2497 2498 2499" {
		t.Errorf("got %s", said(lines))
	}
	if lines, _, _ := tail.Last(1<<20, false); len(lines) != 1000 || string(lines[0]) != "1500" {
		t.Errorf("%d lines from %s", len(lines), lines[0])
	}
	fmt.Fprintln(tail, strings.Repeat("x", 1<<20))
	if lines, _, _ := tail.Last(1, false); len(lines[0]) != 4<<10 {
		t.Errorf("a line of %d bytes is kept", len(lines[0]))
	}
}

// A follower gets each line once, after those that it was given, and one that reads
// nothing holds nobody up.
func TestTailFollowed(t *testing.T) {
	tail := journal.NewTail()
	fmt.Fprintln(tail, "before")
	_, _, stopIdle := tail.Last(0, true)
	lines, more, stop := tail.Last(10, true)
	if said(lines) != "before" {
		t.Errorf("got %s", said(lines))
	}
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 50 {
				fmt.Fprintf(tail, "%d/%d\n", w, i)
			}
		})
	}
	seen := map[string]bool{}
	for range 200 {
		l := string(<-more)
		if seen[l] {
			t.Errorf("%s twice", l)
		}
		seen[l] = true
	}
	writers.Wait()
	for range 1000 { // more than waits for anybody
		fmt.Fprintln(tail, "x")
	}
	stop()
	stopIdle()
}
