package node

import (
	"strconv"
	"testing"
	"time"
)

func TestFresh(t *testing.T) {
	begin := time.Unix(1_790_000_000, 0)
	until := begin.Add(time.Minute)
	var f fresh
	f.note("1:early", 2, begin)
	if f.since("1:early", 0) || f.names != nil {
		t.Error("remembered without a sweep")
	}
	f.begin(until)
	f.note("1:old", 1, begin)
	f.note("1:new", 2, begin)
	f.note("1:newer", 3, until) // the last moment counts
	f.note("1:both", 1, begin)
	f.note("1:both", 2, begin)
	f.note("1:both", 0, begin)
	for name, want := range map[string]bool{"1:early": false, "1:old": false, "1:new": true, "1:newer": true, "1:both": true, "1:unknown": false, "": false} {
		if got := f.since(name, 2); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}

	// A second sweep while the first goes on forgets nothing.
	f.begin(until.Add(time.Minute))
	f.note("1:late", 2, until.Add(time.Second))
	if !f.since("1:new", 2) || !f.since("1:late", 2) || f.since("1:old", 2) {
		t.Error("after a second sweep began")
	}

	f.note("1:over", 9, until.Add(time.Minute+1))
	if f.names != nil || f.since("1:newer", 2) || f.since("1:over", 2) {
		t.Errorf("%d names are remembered after the end", len(f.names))
	}
}

func TestFreshIsBounded(t *testing.T) {
	var f fresh
	now := time.Unix(1_790_000_000, 0)
	f.begin(now.Add(time.Minute))
	for i := range maxFresh + 1000 {
		f.note(strconv.Itoa(i), 1, now)
	}
	if len(f.names) != maxFresh || !f.since("0", 1) || !f.since(strconv.Itoa(maxFresh-1), 1) || f.since(strconv.Itoa(maxFresh), 1) {
		t.Errorf("%d names, want %d", len(f.names), maxFresh)
	}
}
