package transport

import (
	"encoding/json"
	"maps"
	"net/url"
	"testing"
)

// Both are short cuts past the standard library, so it is the judge.

func FuzzParameters(f *testing.F) {
	for _, s := range []string{"", "&", "userid=alice&ttl=600", "a=1&a=2", "a=%zz&b=2", "a;b=1&c=3", "=", "a", "%61=+%2B", "a=b=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		want, _ := url.ParseQuery(query) // the pairs before and after a bad one stand
		got := url.Values{}
		for key, value := range parameters(query) {
			got.Add(key, value)
		}
		if !maps.EqualFunc(got, want, func(a, b []string) bool { return url.Values{"": a}.Encode() == url.Values{"": b}.Encode() }) {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "alice", "1790000000:a@b+c=", `"`, `\`, "<&>", "a\nb", "\x7f", "ž", "\xff", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendString([]byte("x"), s); string(got) != "x"+string(want) {
			t.Errorf("%q: got %s, want %s", s, got[1:], want)
		}
	})
}
