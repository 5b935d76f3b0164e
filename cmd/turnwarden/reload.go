package main

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
	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
)

// reloader looks at the files again, on SIGHUP and on turnwarden reload. What touches no
// call is in force at once; the rest is named, with what it waits for.
type reloader struct {
	flags   flags
	now     *current
	parts   *parts
	logger  *slog.Logger
	metrics metrics.Reload
	hangups <-chan os.Signal // nil = nobody sends any

	mu sync.Mutex // one at a time
}

// run reloads at every SIGHUP until ctx ends.
func (r *reloader) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.hangups:
			if err := r.reload(ctx, service.ReloadRequest{}, "SIGHUP", func(service.Step) {}); err != nil {
				r.logger.Error("not everything that is in the files is in force", "err", err)
			}
		}
	}
}

// reload checks both files, and does nothing if either has a mistake.
func (r *reloader) reload(ctx context.Context, req service.ReloadRequest, by string, report func(service.Step)) error {
	waiting, err := r.apply(ctx, r.steps(by, report))
	if len(waiting.drain) > 0 && req.Drain && err == nil {
		if len(waiting.start) > 0 { // a drain's outcome leaves no room for more
			report(service.Step{Name: "waits", Detail: strings.Join(waiting.start, "; ")})
		}
		err = r.parts.drainer.Drain(ctx, service.DrainRequest{Then: service.ThenRestart, Limit: req.Limit, NoLock: req.NoLock}, by, report)
		waiting.drain = nil
	}
	return errors.Join(err, waiting.err())
}

// steps reports each step with the time it took, and logs it.
func (r *reloader) steps(by string, report func(service.Step)) func(service.Step) {
	begin := time.Now()
	return func(s service.Step) {
		s.Took = time.Since(begin)
		begin = time.Now()
		log := r.logger.With("by", by, "step", s.Name, "detail", s.Detail)
		if s.Err != nil {
			log.Error("reload", "err", s.Err)
		} else {
			log.Info("reload")
		}
		report(s)
	}
}

// apply puts in force what touches no call, and returns what waits for more.
func (r *reloader) apply(ctx context.Context, done func(service.Step)) (w waiting, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.metrics.Reloaded(err == nil) }()
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
	now := r.now.Load()
	var errs []error
	for _, f := range now.api.files {
		_, err := f.look()
		done(service.Step{Name: "file", Detail: f.key, Err: err})
		errs = append(errs, err)
	}
	if now.conf.TLS || now.conf.DTLS {
		detail, err := r.certificates(ctx, now)
		done(service.Step{Name: "tls", Detail: detail, Err: err})
		if err == nil { // the names in it stand in the URIs of this node
			err = r.now.change(func(now *site) (*site, error) { return now, nil })
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate: %w", err))
		}
	}
	return now.waiting(n, r.flags.configFile), errors.Join(errs...)
}

// use has the keys in force that touch no call, and names those that have changed.
func (r *reloader) use(cfg config.Node) (keys []string, err error) {
	if len(config.Changed(r.now.Load().cfg, cfg, config.Live)) == 0 {
		return nil, nil
	}
	err = r.now.change(func(now *site) (*site, error) {
		keys = config.Changed(now.cfg, cfg, config.Live)
		mixed := config.Take(now.cfg, cfg, config.Live)
		// Either file is sound, but so has to be what is half of the one and half of the
		// other: an address that is open to others stays so until turnwarden is started.
		if err := mixed.Check(r.flags.configFile); err != nil {
			return nil, fmt.Errorf("%w\nuntil turnwarden is started anew, for %s wait for that", err, strings.Join(config.Changed(now.cfg, cfg, config.Started), ", "))
		}
		return now.with(mixed, r.logger)
	})
	return keys, err
}

// read reads all files there are, and changes nothing.
func (r *reloader) read(ctx context.Context) (*next, error) {
	if r.flags.webConfigFile != "" {
		if err := web.Validate(r.flags.webConfigFile); err != nil { // which is read with every connection
			return nil, fmt.Errorf("--web.config.file: %w", err)
		}
	}
	cfg, err := config.LoadNode(r.flags.configFile)
	if err != nil {
		return nil, err
	}
	s, err := findServer(ctx, cfg)
	return &next{s, cfg}, err
}

// stage has turnserver started with what the files say now.
func (r *reloader) stage(ctx context.Context, report func(service.Step)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	begin := time.Now()
	n, err := r.read(ctx)
	if err == nil {
		err = r.now.stage(ctx, n, r.parts.supervisor.Child().PID)
	}
	if err != nil {
		return fmt.Errorf("turnserver would not be started anew with these files, and nothing is done:\n%w", err)
	}
	step := service.Step{Name: "check", Detail: "both files are valid", Took: time.Since(begin)}
	if w := r.now.Load().waiting(n, r.flags.configFile); len(w.drain) > 0 {
		step.Detail += "; in force with the start: " + strings.Join(w.drain, "; ")
	}
	report(step)
	return nil
}

// waiting is what has changed and is not in force, in words.
type waiting struct{ drain, start []string }

// waiting says what of n is not in force.
func (s *site) waiting(n *next, path string) (w waiting) {
	add := func(to *[]string, path string, names []string) {
		if len(names) > 0 {
			*to = append(*to, path+": "+strings.Join(names, ", "))
		}
	}
	add(&w.drain, path, config.Changed(s.cfg, n.cfg, config.Drained))
	add(&w.start, path, config.Changed(s.cfg, n.cfg, config.Started))
	if fixed := s.fixed(n.server); len(fixed) > 0 {
		add(&w.start, n.conf.Path, fixed)
	} else {
		add(&w.drain, n.conf.Path, s.conf.Changed(n.conf))
	}
	if v := s.running(); v != n.version {
		w.drain = append(w.drain, fmt.Sprintf("coturn %v, which is installed, in place of %v", n.version, v))
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
