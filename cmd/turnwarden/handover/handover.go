// Package handover is what one image of turnwarden gives to the next: the format, and the files
// that go with it.
package handover

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// Version is that of what one image of turnwarden hands over to the next. A
// field that is new needs no other version: who does not know it goes without.
const Version = 1

// Env names the descriptor of the file with the handover. It holds secrets, so it
// is a file in memory that only we have open.
const Env = "TURNWARDEN_HANDOVER"

// State is what an image of turnwarden hands over to the next, in one JSON object.
type State struct {
	Version int               `json:"version"`
	Build   string            `json:"build"` // version of the program that wrote it
	PID     int               `json:"pid"`
	Kept    map[string]string `json:"kept"`  // what the two must agree on
	Files   map[string]int    `json:"files"` // descriptors, by what they are
	CLI     CLI               `json:"cli"`
	Output  []BegunLine       `json:"output"` // of the child: stdout and stderr
	By      string            `json:"by"`     // whoever asked for it
	Shut    time.Time         `json:"shut"`   // since when clients wait
	Node    Node              `json:"node"`
}

// CLI is how to talk to the child that runs.
type CLI struct {
	On       bool           `json:"on"`
	Port     int            `json:"port"`
	Password string         `json:"password"`
	Coturn   coturn.Version `json:"coturn"`
}

// BegunLine is what has been read of a line of the child's output.
type BegunLine struct {
	Text []byte `json:"text"`
	Skip bool   `json:"skip"`
}

// The names of the files.
const (
	Lock  = "lock"
	Web   = "web"
	API   = "api"
	Admin = "admin"
	Reply = "reply" // to whoever has asked for the upgrade
)

// Output names those that turnserver writes to.
var Output = [...]string{"stdout", "stderr"}

// Write writes h, with the descriptor that each file will have, into a file in
// memory.
func Write(h State, files map[string]int) (*os.File, error) {
	h.Files = files
	data, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode the handover: %w", err)
	}
	fd, err := unix.MemfdCreate("turnwarden-handover", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make the file of the handover: %w", err)
	}
	f := os.NewFile(uintptr(fd), "handover")
	if _, err = f.Write(data); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write the handover: %w", err)
	}
	return f, nil
}
