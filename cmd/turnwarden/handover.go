package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/version"
	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// handoverVersion is that of what one image of turnwarden hands over to the next. A
// field that is new needs no other version: who does not know it goes without.
const handoverVersion = 1

// handoverEnv names the descriptor of the file with the handover. It holds secrets, so it
// is a file in memory that only we have open.
const handoverEnv = "TURNWARDEN_HANDOVER"

// handover is what an image of turnwarden hands over to the next, in one JSON object.
type handover struct {
	Version int               `json:"version"`
	Build   string            `json:"build"` // version of the program that wrote it
	PID     int               `json:"pid"`
	Kept    map[string]string `json:"kept"`  // what the two must agree on
	Files   map[string]int    `json:"files"` // descriptors, by what they are
	CLI     childCLI          `json:"cli"`
	Output  []begunLine       `json:"output"` // of the child: stdout and stderr
	By      string            `json:"by"`     // whoever asked for it
	Shut    time.Time         `json:"shut"`   // since when clients wait
	Node    savedNode         `json:"node"`
}

// childCLI is how to talk to the child that runs.
type childCLI struct {
	On       bool           `json:"on"`
	Port     int            `json:"port"`
	Password string         `json:"password"`
	Coturn   coturn.Version `json:"coturn"`
}

// begunLine is what has been read of a line of the child's output.
type begunLine struct {
	Text []byte `json:"text"`
	Skip bool   `json:"skip"`
}

// The names of the files.
const (
	fileLock  = "lock"
	fileWeb   = "web"
	fileAPI   = "api"
	fileAdmin = "admin"
	fileReply = "reply" // to whoever has asked for the upgrade
)

var fileOutput = [...]string{"stdout", "stderr"}

// writeHandover writes h, with the descriptor that each file will have, into a file in
// memory.
func writeHandover(h handover, files map[string]int) (*os.File, error) {
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

// heritage is what an earlier image has handed over to this one. A nil heritage is that
// of an ordinary start.
type heritage struct {
	handover
	files map[string]*os.File
}

// inherit takes over what an earlier image has left for us; nil if there was none. A
// self-check gets its copy on stdin.
func inherit(selfCheck bool) (*heritage, error) {
	if selfCheck {
		return readHandover(os.Stdin)
	}
	text, ok := os.LookupEnv(handoverEnv)
	if !ok {
		return nil, nil //nolint:nilnil // an ordinary start
	}
	_ = os.Unsetenv(handoverEnv) // it is not for our children
	fd, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%s: found %q; it is not for people to set", handoverEnv, text)
	}
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "handover")
	defer f.Close()
	h, err := readHandover(f)
	if err == nil && h.PID != os.Getpid() {
		err = fmt.Errorf("the handover is for process %d", h.PID)
	}
	return h, err
}

// readHandover reads a handover and opens its files.
func readHandover(f *os.File) (*heritage, error) {
	h := &heritage{files: map[string]*os.File{}}
	if err := json.NewDecoder(f).Decode(&h.handover); err != nil {
		return nil, fmt.Errorf("read the handover: %w", err)
	}
	if h.Version != handoverVersion {
		return nil, fmt.Errorf("turnwarden %s hands over in format %d, and %s reads format %d: restart turnwarden instead", h.Build, h.Version, version.Version, handoverVersion)
	}
	for name, fd := range h.Files {
		unix.CloseOnExec(fd)
		h.files[name] = os.NewFile(uintptr(fd), name)
	}
	return h, nil
}

// check compares what the two images must agree on.
func (h *heritage) check(kept map[string]string) error {
	var changed []string
	for key, was := range h.Kept {
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

// keep notes what a node cannot change while its child, its listeners and its record go
// on, and proves that it has not.
func (s *site) keep(cfg config.Node, f flags, from *heritage) error {
	s.kept = map[string]string{
		"node":                     cfg.Node,
		"coturn.user":              cfg.Coturn.User,
		"coturn.config_file":       cfg.Coturn.ConfigFile,
		cfg.Coturn.ConfigFile:      s.sum,
		"credentials.mode":         cfg.Credentials.Mode,
		"credentials.state_dir":    cfg.Credentials.StateDir,
		"registry.zookeeper":       strings.Join(cfg.Registry.ZooKeeper, ", "),
		"registry.path":            cfg.Registry.Path,
		"registry.prometheus_path": cfg.Registry.PrometheusPath,
		"api.listen":               cfg.API.Listen,
		"admin.socket":             cfg.Admin.Socket,
		"--web.listen-address":     f.webListen,
	}
	if from == nil {
		return nil
	}
	return from.check(s.kept)
}

// file hands out a file once.
func (h *heritage) file(name string) *os.File {
	f := h.files[name]
	delete(h.files, name)
	return f
}

// listenFunc opens a listener, which has a name in a handover.
type listenFunc func(ctx context.Context, name, network, address string) (net.Listener, error)

func listen(ctx context.Context, _, network, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, address)
}

// listen opens a listener, or goes on with the one that was handed over.
func (h *heritage) listen(ctx context.Context, name, network, address string) (net.Listener, error) {
	if h == nil {
		return listen(ctx, name, network, address)
	}
	f := h.file(name)
	if f == nil {
		return nil, fmt.Errorf("%s was not handed over", name)
	}
	defer f.Close()
	return net.FileListener(f)
}

// resume takes over what of the site is not in files.
func (s *site) resume(h *heritage) {
	s.runtime.Store(&coturn.Runtime{Version: h.CLI.Coturn, CLI: h.CLI.On, CLIPort: h.CLI.Port, CLIPassword: coturn.CLIPassword(h.CLI.Password)})
	if l, ok := s.admin.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(true) // as for one that this image has opened
	}
	bury(h.Node.Supervisor.Child.PID)
}

// bury waits for every child of the image before but turnserver: the program that kept
// the userdb open, whose input the exec has closed, and what was under way, such as a look
// at turnserver's version. None is ours by now but these.
func bury(turnserver int) {
	procs, err := procfs.AllProcs()
	if err != nil {
		return // nothing is lost but a line in the list of processes
	}
	for _, p := range procs {
		if s, err := p.Stat(); err == nil && s.PPID == os.Getpid() && p.PID != turnserver {
			go func() { _, _ = unix.Wait4(p.PID, nil, 0, nil) }()
		}
	}
}

// adopter goes on with the child.
func (s *site) adopter(command supervisor.Command, h *heritage) supervisor.Starter {
	left := supervisor.Left{PID: h.Node.Supervisor.Child.PID}
	for i, name := range fileOutput {
		left.Output[i].File = h.file(name)
		if i < len(h.Output) {
			left.Output[i].Begun, left.Output[i].Skip = h.Output[i].Text, h.Output[i].Skip
		}
	}
	return func(ctx context.Context) (supervisor.Process, error) {
		p, err := command.Adopt(ctx, left)
		if err != nil {
			return nil, err
		}
		s.child.Store(p)
		return p, nil
	}
}

// reply goes on with the answer to whoever has asked for the upgrade; nil if that was a
// signal.
func (h *heritage) reply() *admin.Reply {
	f := h.file(fileReply)
	if f == nil {
		return nil
	}
	r, err := admin.ResumeReply(f)
	if err != nil {
		return nil // then he has hung up
	}
	return r
}
