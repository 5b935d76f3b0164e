package directory_test

import (
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/directory"
)

func TestParseServer(t *testing.T) {
	for in, want := range map[string]string{
		"zk1":                  "zk1:2181",
		"zk1:2182":             "zk1:2182",
		"zk-1.example.org.":    "zk-1.example.org.:2181",
		"zoo_keeper":           "zoo_keeper:2181",
		"10.0.0.1":             "10.0.0.1:2181",
		"10.0.0.1:65535":       "10.0.0.1:65535",
		"[::1]":                "[::1]:2181",
		"[2001:db8::1]:2181":   "[2001:db8::1]:2181",
		"[fe80::1%eth0]:2181":  "[fe80::1%eth0]:2181",
		"3com.example.org:21":  "3com.example.org:21",
		"zk.1and1.example:444": "zk.1and1.example:444",
	} {
		if got, err := directory.ParseServer(in); got != want || err != nil {
			t.Errorf("ParseServer(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for in, why := range map[string]string{
		"":                        "empty",
		"zk1:2181/turn":           "put the path in registry.path",
		"/turn":                   "put the path in registry.path",
		"zk://zk1":                "scheme",
		"zk1:2181,zk2:2181":       "one entry each",
		"::1":                     "brackets",
		"2001:db8::1:2181":        "brackets",
		"[::1":                    "open bracket",
		"[zk1]:2181":              "neither",
		"[10.0.0.1]:2181":         "brackets are for IPv6",
		"[]":                      "neither",
		"zk1:":                    "port",
		"zk1:0":                   "port",
		"zk1:65536":               "port",
		"zk1:-1":                  "port",
		"zk1:http":                "port",
		"zk1:2181:2181":           "more than one colon",
		":2181":                   "neither",
		"10.0.0":                  "neither",
		"10.0.0.256":              "neither",
		"zk 1":                    "neither",
		"zk1 ":                    "neither",
		"-zk1.example.org":        "neither",
		"zk1..org":                "neither",
		strings.Repeat("a.", 127): "neither",
	} {
		if got, err := directory.ParseServer(in); err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseServer(%q) = %q, %v, want a one-line error with %q", in, got, err, why)
		}
	}
}
