package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// Reloader looks at the files again, on SIGHUP and on turnwarden reload. What touches no
// call is in force at once; the rest is named, with what it waits for.
type Reloader struct {
	Path       string // of the configuration file
	Web        Web
	Now        *Current
	Status     func() service.Status
	Drain      func(ctx context.Context, r service.DrainRequest, by string, report func(service.Step)) error
	Supervisor *supervisor.Supervisor
	Logger     *slog.Logger
	Reloaded   func(ok bool)
	Hangups    <-chan os.Signal // nil = nobody sends any

	mu sync.Mutex // one at a time
}

// Run reloads at every SIGHUP until ctx ends.
func (r *Reloader) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.Hangups:
			if err := r.Reload(ctx, service.ReloadRequest{}, "SIGHUP", func(service.Step) {}); err != nil {
				r.Logger.Error("not everything that is in the files is in force", "err", err)
			}
		}
	}
}

// Reload checks both files, and does nothing if either has a mistake.
func (r *Reloader) Reload(ctx context.Context, req service.ReloadRequest, by string, report func(service.Step)) error {
	waiting, err := r.apply(ctx, r.steps(by, report))
	if len(waiting.drain) > 0 && req.Drain && err == nil {
		if len(waiting.start) > 0 { // a drain's outcome leaves no room for more
			report(service.Step{Name: "waits", Detail: strings.Join(waiting.start, "; ")})
		}
		err = r.Drain(ctx, service.DrainRequest{Then: service.ThenRestart, Limit: req.Limit, NoLock: req.NoLock}, by, report)
		waiting.drain = nil
	}
	return errors.Join(err, waiting.err())
}

// steps reports each step with the time it took, and logs it.
func (r *Reloader) steps(by string, report func(service.Step)) func(service.Step) {
	begin := time.Now()
	return func(s service.Step) {
		s.Took = time.Since(begin)
		begin = time.Now()
		log := r.Logger.With("by", by, "step", s.Name, "detail", s.Detail)
		if s.Err != nil {
			log.Error("reload", "err", s.Err)
		} else {
			log.Info("reload")
		}
		report(s)
	}
}

// apply puts in force what touches no call, and returns what waits for more.
func (r *Reloader) apply(ctx context.Context, done func(service.Step)) (w waiting, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.Reloaded(err == nil) }()
	n, err := r.read(ctx)
	var keys []string
	if err == nil {
		keys, err = r.use(n.cfg)
	}
	if err != nil {
		return w, &service.RefusedError{Err: fmt.Errorf("nothing is applied:\n%w", err)}
	}
	done(service.Step{Name: "check", Detail: "both files are valid"})
	if len(keys) > 0 {
		done(service.Step{Name: "applied", Detail: strings.Join(keys, ", ")})
	}
	now := r.Now.Load()
	var errs []error
	for _, f := range now.API.Files {
		_, err := f.Look()
		done(service.Step{Name: "file", Detail: f.Key, Err: err})
		errs = append(errs, err)
	}
	if now.Conf.TLS || now.Conf.DTLS {
		detail, err := r.certificates(ctx, now)
		done(service.Step{Name: "tls", Detail: detail, Err: err})
		if err == nil { // the names in it stand in the URIs of this node
			err = r.Now.change(func(now *Host) (*Host, error) { return now, nil })
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate: %w", err))
		}
	}
	return now.waiting(n, r.Path), errors.Join(errs...)
}

// use has the keys in force that touch no call, and names those that have changed.
func (r *Reloader) use(cfg config.Node) (keys []string, err error) {
	if len(config.Changed(r.Now.Load().Config, cfg, config.Live)) == 0 {
		return nil, nil
	}
	err = r.Now.change(func(now *Host) (*Host, error) {
		keys = config.Changed(now.Config, cfg, config.Live)
		mixed := config.Take(now.Config, cfg, config.Live)
		// Either file is sound, but so has to be what is half of the one and half of the
		// other: an address that is open to others stays so until turnwarden is started.
		if err := mixed.Check(r.Path); err != nil {
			return nil, fmt.Errorf("%w\nuntil turnwarden is started anew, for %s wait for that", err, strings.Join(config.Changed(now.Config, cfg, config.Started), ", "))
		}
		return now.with(mixed, r.Logger)
	})
	return keys, err
}

// read reads all files there are, and changes nothing.
func (r *Reloader) read(ctx context.Context) (*next, error) {
	if r.Web.ConfigFile != "" {
		if err := web.Validate(r.Web.ConfigFile); err != nil { // which is read with every connection
			return nil, fmt.Errorf("--web.config.file: %w", err)
		}
	}
	cfg, err := config.LoadNode(r.Path)
	if err != nil {
		return nil, err
	}
	s, err := findServer(ctx, cfg)
	return &next{s, cfg}, err
}

// Stage has turnserver started with what the files say now.
func (r *Reloader) Stage(ctx context.Context, report func(service.Step)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	begin := time.Now()
	n, err := r.read(ctx)
	if err == nil {
		err = r.Now.stage(ctx, n, r.Supervisor.Child().PID)
	}
	if err != nil {
		return fmt.Errorf("turnserver would not be started anew with these files, and nothing is done:\n%w", err)
	}
	step := service.Step{Name: "check", Detail: "both files are valid", Took: time.Since(begin)}
	if w := r.Now.Load().waiting(n, r.Path); len(w.drain) > 0 {
		step.Detail += "; in force with the start: " + strings.Join(w.drain, "; ")
	}
	report(step)
	return nil
}

// waiting is what has changed and is not in force, in words.
type waiting struct{ drain, start []string }

// waiting says what of n is not in force.
func (h *Host) waiting(n *next, path string) (w waiting) {
	add := func(to *[]string, path string, names []string) {
		if len(names) > 0 {
			*to = append(*to, path+": "+strings.Join(names, ", "))
		}
	}
	add(&w.drain, path, config.Changed(h.Config, n.cfg, config.Drained))
	add(&w.start, path, config.Changed(h.Config, n.cfg, config.Started))
	if fixed := h.unchangeable(n.server); len(fixed) > 0 {
		add(&w.start, n.Conf.Path, fixed)
	} else {
		add(&w.drain, n.Conf.Path, h.Conf.Changed(n.Conf))
	}
	if v := h.Running(); v != n.Version {
		w.drain = append(w.drain, fmt.Sprintf("coturn %v, which is installed, in place of %v", n.Version, v))
	}
	return w
}

func (w waiting) err() error {
	var all []string
	if len(w.drain) > 0 {
		all = append(all, strings.Join(w.drain, "; ")+": wait until turnserver is started anew; turnwarden reload --drain does that when its calls have ended")
	}
	if len(w.start) > 0 {
		all = append(all, strings.Join(w.start, "; ")+": read at the start of turnwarden alone; turnwarden drain empties and stops it, then start it again")
	}
	if len(all) == 0 {
		return nil
	}
	return errors.New("not in force yet:\n" + strings.Join(all, "\n"))
}
