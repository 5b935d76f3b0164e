package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service/coturn"
)

// current is the site that is in force. A change puts another one in its place, as a
// whole, and tells the parts.
type current struct {
	atomic.Pointer[site]
	staged atomic.Pointer[next]
	logger *slog.Logger

	mu   sync.Mutex // one change at a time
	tell func(was, is *site)
}

// next is what turnserver is started with at its next start, and cfg the keys that go
// with it.
type next struct {
	server
	cfg config.Node
}

// change puts what edit returns in force, or leaves all as it is.
func (c *current) change(edit func(now *site) (*site, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.Load()
	is, err := edit(was)
	if err == nil {
		c.Store(is)
		c.tell(was, is)
	}
	return err
}

// starting is called before each start of turnserver: what is staged comes into force.
// One that cannot be used after all stays staged, and is the reason why there is no start.
func (c *current) starting() (*site, error) {
	if n := c.staged.Load(); n != nil {
		if err := c.change(func(now *site) (*site, error) { return now.restarted(n, c.logger) }); err != nil {
			return nil, err
		}
		if c.staged.CompareAndSwap(n, nil) {
			n.warn(c.logger)
		}
	}
	return c.Load(), nil
}

// stage has the next start of turnserver use n, if this host can.
func (c *current) stage(ctx context.Context, n *next, pid int) error {
	now := c.Load()
	if fixed := now.fixed(n.server); len(fixed) > 0 {
		return fmt.Errorf("%s: %s changed, which turnwarden reads at its own start alone; turnwarden drain empties and stops it, then start it again", n.conf.Path, strings.Join(fixed, ", "))
	}
	s, err := now.restarted(n, slog.New(slog.DiscardHandler))
	if err == nil {
		err = s.ownAddresses(ctx)
	}
	if err == nil {
		err = s.checkPorts(pid)
	}
	if err == nil && (n.conf.TLS || n.conf.DTLS) {
		_, err = chain(n.conf)
	}
	if err == nil {
		c.staged.Store(n)
	}
	return err
}

// with is the site with other settings for everything but turnserver.
func (s *site) with(cfg config.Node, logger *slog.Logger) (*site, error) {
	is := *s
	is.cfg = cfg
	if err := is.findInterfaces(cfg, logger); err != nil {
		return nil, err
	}
	if len(cfg.Registry.ZooKeeper) > 0 {
		if err := is.findAddress(cfg, logger); err != nil {
			return nil, err
		}
	}
	var err error
	if !reflect.DeepEqual(s.cfg.API, cfg.API) { // the rates of callers begin anew with each
		is.api, err = s.api.with(cfg.API, logger)
	}
	return &is, err
}

// restarted is the site when turnserver has been started with n.
func (s *site) restarted(n *next, logger *slog.Logger) (*site, error) {
	is := *s
	is.server = n.server
	is.kept = maps.Clone(s.kept)
	delete(is.kept, s.cfg.Coturn.ConfigFile)
	is.kept["coturn.config_file"], is.kept[n.cfg.Coturn.ConfigFile] = n.cfg.Coturn.ConfigFile, n.sum
	return is.with(config.Take(s.cfg, n.cfg, config.Drained), logger)
}

// fixed names the options of turnserver.conf that differ and that more than turnserver
// has read at the start.
func (s *site) fixed(n server) (names []string) {
	for _, option := range []struct {
		name string
		of   func(c *coturn.Conf) string
	}{
		{"realm", func(c *coturn.Conf) string { return c.Realm }},
		{"userdb", func(c *coturn.Conf) string { return c.UserDB }},
		{"proc-user", func(c *coturn.Conf) string { return c.ProcUser }},
	} {
		if option.of(s.conf) != option.of(n.conf) && (option.name != "proc-user" || s.cfg.Coturn.User == "") {
			names = append(names, option.name)
		}
	}
	return names
}
