package directory_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/directory"
)

func TestEncode(t *testing.T) {
	full := directory.Record{
		FreeTraffic: 812.44, RESTAddr: "10.0.0.5:13478", V: 1, RESTScheme: "https", Node: "turn-1", Region: "eu", Zone: "a",
		URIs: []string{"turn:turn-1.example.org:3478?transport=udp"}, CapacityMbps: 1000, RxMbps: 187.56, TxMbps: 20,
		Allocations: 42, State: "up", Generation: 7, Mode: "secret", Seq: 99, TS: 1790000000000, IntervalSec: 10, Version: "1.2.3",
		Unknown: map[string]json.RawMessage{"weight": []byte(`3`), "also": []byte(`{"b":1,"a":2}`)},
	}
	const keys = `"v":0,"restScheme":"","node":"","region":"","zone":"","uris":[],"capacityMbps":0.0,"rxMbps":0.0,"txMbps":0.0,` +
		`"allocations":0,"state":"","generation":0,"seq":0,"ts":0,"intervalSec":0,"version":""}`
	for name, test := range map[string]struct {
		record directory.Record
		want   string
	}{
		"all keys": {full, `{"freeTraffic":812.4,"restAddr":"10.0.0.5:13478","v":1,"restScheme":"https","node":"turn-1","region":"eu","zone":"a",` +
			`"uris":["turn:turn-1.example.org:3478?transport=udp"],"capacityMbps":1000.0,"rxMbps":187.6,"txMbps":20.0,` +
			`"allocations":42,"state":"up","generation":7,"mode":"secret","seq":99,"ts":1790000000000,"intervalSec":10,"version":"1.2.3",` +
			`"also":{"b":1,"a":2},"weight":3}`},
		"whole number":  {directory.Record{FreeTraffic: 800, RESTAddr: "a:1"}, `{"freeTraffic":800.0,"restAddr":"a:1",` + keys},
		"negative":      {directory.Record{FreeTraffic: -3, RESTAddr: "a:1"}, `{"freeTraffic":0.0,"restAddr":"a:1",` + keys},
		"negative zero": {directory.Record{FreeTraffic: math.Copysign(0, -1), RESTAddr: "a:1"}, `{"freeTraffic":0.0,"restAddr":"a:1",` + keys},
		"not a number":  {directory.Record{FreeTraffic: math.NaN(), RESTAddr: "a:1"}, `{"freeTraffic":0.0,"restAddr":"a:1",` + keys},
		"infinite":      {directory.Record{FreeTraffic: math.Inf(1), RESTAddr: "a:1"}, `{"freeTraffic":0.0,"restAddr":"a:1",` + keys},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, string(test.record.Encode())); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want directory.Record
		err  string // a part of it
	}{
		"seed":              {text: `{"freeTraffic":812.4, "restAddr":"10.0.0.5:13478"}`, want: directory.Record{FreeTraffic: 812.4, RESTAddr: "10.0.0.5:13478"}},
		"seed, negative":    {text: `{"freeTraffic":-2,"restAddr":"a:1"}`, want: directory.Record{RESTAddr: "a:1"}},
		"later version":     {text: `{"freeTraffic":1,"restAddr":"a:1","v":2,"load":{"x":[1]}}`, want: directory.Record{FreeTraffic: 1, RESTAddr: "a:1", V: 2, Unknown: map[string]json.RawMessage{"load": []byte(`{"x":[1]}`)}}},
		"other case":        {text: `{"freeTraffic":1,"restAddr":"a:1","STATE":"up"}`, want: directory.Record{FreeTraffic: 1, RESTAddr: "a:1", Unknown: map[string]json.RawMessage{"STATE": []byte(`"up"`)}}},
		"no freeTraffic":    {text: `{"restAddr":"a:1"}`, err: "no freeTraffic"},
		"no restAddr":       {text: `{"freeTraffic":1}`, err: "no restAddr"},
		"empty restAddr":    {text: `{"freeTraffic":1,"restAddr":""}`, err: "restAddr is empty"},
		"wrong type":        {text: `{"freeTraffic":"1","restAddr":"a:1"}`, err: "freeTraffic"},
		"null":              {text: `null`, err: "no freeTraffic"},
		"no object":         {text: `[1]`, err: "decode record"},
		"nothing":           {text: ``, err: "decode record"},
		"garbage behind it": {text: `{"freeTraffic":1,"restAddr":"a:1"}x`, err: "decode record"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := directory.Decode([]byte(test.text))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzDecode checks that what is read can be written, begins as the seed's readers
// expect, and reads and writes the same from then on.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"freeTraffic":812.4,"restAddr":"10.0.0.5:13478"}`))
	f.Add([]byte(`{"restAddr":"a","freeTraffic":-0.04,"uris":null,"seq":18446744073709551615,"x":"\u2028","x":[{}]}`))
	f.Add([]byte(`{"freeTraffic":1e308,"restAddr":"\ud800","intervalSec":1e-7,"FreeTraffic":1,"":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := directory.Decode(data)
		if err != nil {
			return
		}
		once := r.Encode()
		if !json.Valid(once) || !strings.HasPrefix(string(once), `{"freeTraffic":`) {
			t.Fatalf("%q was encoded as %q", data, once)
		}
		again, err := directory.Decode(once)
		if err != nil {
			t.Fatalf("decode %q: %v", once, err)
		}
		if twice := again.Encode(); string(twice) != string(once) {
			t.Fatalf("%q was encoded as %q", once, twice)
		}
	})
}
