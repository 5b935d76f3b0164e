package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/transport/admin"
)

// leave writes down what the next image needs. Until stay is called, which is where the
// exec has failed, nothing is taken from the child that the next image would miss.
func (u *Upgrader) leave(shut time.Time, by string, reply *admin.Reply) (env []string, files []syscall.Conn, stay func(), err error) {
	h, named, stay := u.handover()
	h.Shut, h.By = shut, by
	if h.Node.Supervisor.Child.State == supervisor.Starting {
		return nil, nil, stay, errors.New("turnserver is being started; ask again")
	}
	if reply != nil {
		named[handover.Reply] = reply
	}
	descriptors := map[string]int{}
	for name, f := range named {
		if descriptors[name], err = supervisor.Descriptor(f); err != nil {
			return nil, nil, stay, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, f)
	}
	memory, err := handover.Write(h, descriptors)
	if err != nil {
		return nil, nil, stay, err
	}
	fd, err := supervisor.Descriptor(memory)
	return append(os.Environ(), handover.Env+"="+strconv.Itoa(fd)), append(files, memory), stay, err
}

// selfCheck has the new program look at what it would get, and returns its words.
func (u *Upgrader) selfCheck(ctx context.Context, program string) (string, error) {
	h, named, stay := u.handover()
	stay()
	var files []syscall.Conn
	descriptors := map[string]int{}
	for name, f := range named {
		descriptors[name] = 3 + len(files)
		files = append(files, f)
	}
	memory, err := handover.Write(h, descriptors)
	if err != nil {
		return "", err
	}
	defer memory.Close()
	return supervisor.SelfCheck(ctx, program, append(os.Args[1:], "--self-check"), memory, files...)
}

// handover is what there is to hand over. Until stay is called nothing is taken from the
// child that is not in it.
func (u *Upgrader) handover() (h handover.State, files map[string]syscall.Conn, stay func()) {
	h = handover.State{Version: handover.Version, Build: version.Version, PID: os.Getpid()}
	at := u.Now.Load()
	left, stay := at.Leave()
	if h.Node = u.Parts.Save(); h.Node.Supervisor.Child.PID != left.PID {
		left = supervisor.Left{} // it has ended
	}
	return h, at.Save(&h, left), stay
}

// resumedReply goes on with the answer to whoever has asked for the upgrade; nil if that
// was a signal.
func resumedReply(from *handover.Inherited) *admin.Reply {
	f := from.File(handover.Reply)
	if f == nil {
		return nil
	}
	r, err := admin.ResumeReply(f)
	if err != nil {
		return nil // then he has hung up
	}
	return r
}
