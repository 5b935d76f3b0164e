package supervisor

import (
	"io"
	"os"
	"os/exec"
	"sync"
)

// pipes are the child's stdout and stderr.
type pipes struct{ readers, writers []*os.File }

func openPipes(cmd *exec.Cmd) (*pipes, error) {
	p := &pipes{}
	for _, to := range []*io.Writer{&cmd.Stdout, &cmd.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			p.closeReaders()
			p.closeWriters()
			return nil, err
		}
		*to = w
		p.readers, p.writers = append(p.readers, r), append(p.writers, w)
	}
	return p, nil
}

func (p *pipes) closeReaders() {
	for _, r := range p.readers {
		_ = r.Close()
	}
}

func (p *pipes) closeWriters() {
	for _, w := range p.writers {
		_ = w.Close()
	}
}

// drain reads both pipes to their end and closes the channel it returns then.
func (p *pipes) drain(read ...func(io.Reader)) <-chan struct{} {
	var group sync.WaitGroup
	for i, r := range p.readers {
		group.Go(func() {
			if read[i] != nil {
				read[i](r)
			}
			_, _ = io.Copy(io.Discard, r)
		})
	}
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	return done
}
