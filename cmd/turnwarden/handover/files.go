package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/version"
	"golang.org/x/sys/unix"
)

// Inherited is what an earlier image has handed over to this one: nothing to a fresh start.
type Inherited struct {
	State
	files map[string]*os.File
}

// Fresh says whether there was no earlier image.
func (i *Inherited) Fresh() bool { return i.PID == 0 }

// Inherit takes over what an earlier image has left for us. A self-check gets its copy on
// stdin.
func Inherit(selfCheck bool) (*Inherited, error) {
	if selfCheck {
		return read(os.Stdin)
	}
	text, ok := os.LookupEnv(Env)
	if !ok {
		return new(Inherited), nil
	}
	_ = os.Unsetenv(Env) // it is not for our children
	fd, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%s: found %q; it is not for people to set", Env, text)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "handover")
	defer f.Close()
	h, err := read(f)
	if err == nil && h.PID != os.Getpid() {
		err = fmt.Errorf("the handover is for process %d", h.PID)
	}
	return h, err
}

// read reads a handover and opens its files.
func read(f *os.File) (*Inherited, error) {
	h := &Inherited{files: map[string]*os.File{}}
	if err := json.NewDecoder(f).Decode(&h.State); err != nil {
		return nil, fmt.Errorf("read the handover: %w", err)
	}
	if h.Version != Version {
		return nil, fmt.Errorf("turnwarden %s hands over in format %d, and %s reads format %d: restart turnwarden instead", h.Build, h.Version, version.Version, Version)
	}
	for name, fd := range h.Files {
		unix.CloseOnExec(fd)
		h.files[name] = os.NewFile(uintptr(fd), name)
	}
	return h, nil
}

// Check compares what the two images must agree on.
func (i *Inherited) Check(kept map[string]string) error {
	var changed []string
	for key, was := range i.Kept {
		if now, known := kept[key]; known && now != was {
			changed = append(changed, key)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	slices.Sort(changed)
	return fmt.Errorf("changed since turnwarden was started: %s; an upgrade in place keeps these: put them back, or restart turnwarden", strings.Join(changed, ", "))
}

// File hands out a file once; nil where none of that name was handed over.
func (i *Inherited) File(name string) *os.File {
	f := i.files[name]
	delete(i.files, name)
	return f
}

// Listener goes on with a listener; nil where none of that name was handed over.
func (i *Inherited) Listener(name string) (net.Listener, error) {
	f := i.File(name)
	if f == nil {
		return nil, nil //nolint:nilnil // the two are distinct from an error
	}
	defer f.Close()
	return net.FileListener(f)
}

// Listen goes on with a listener that was handed over, or opens one at a fresh start.
func (i *Inherited) Listen(ctx context.Context, name, network, address string) (net.Listener, error) {
	l, err := i.Listener(name)
	switch {
	case l != nil || err != nil:
		return l, err
	case !i.Fresh():
		return nil, fmt.Errorf("%s was not handed over", name)
	}
	return new(net.ListenConfig).Listen(ctx, network, address)
}
