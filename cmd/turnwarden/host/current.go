package host

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

// Current is the host that is in force. A change puts another one in its place, as a
// whole, and tells the parts.
type Current struct {
	atomic.Pointer[Host]
	staged atomic.Pointer[next]
	Logger *slog.Logger

	mu   sync.Mutex // one change at a time
	Tell func(was, is *Host)
}

// next is what turnserver is started with at its next start, and cfg the keys that go
// with it.
type next struct {
	server
	cfg config.Node
}

// change puts what edit returns in force, or leaves all as it is.
func (c *Current) change(edit func(now *Host) (*Host, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.Load()
	is, err := edit(was)
	if err == nil {
		c.Store(is)
		c.Tell(was, is)
	}
	return err
}

// starting is called before each start of turnserver: what is staged comes into force.
// One that cannot be used after all stays staged, and is the reason why there is no start.
func (c *Current) starting() (*Host, error) {
	if n := c.staged.Load(); n != nil {
		if err := c.change(func(now *Host) (*Host, error) { return now.restarted(n, c.Logger) }); err != nil {
			return nil, err
		}
		if c.staged.CompareAndSwap(n, nil) {
			n.warn(c.Logger)
		}
	}
	return c.Load(), nil
}

// stage has the next start of turnserver use n, if this host can.
func (c *Current) stage(ctx context.Context, n *next, pid int) error {
	now := c.Load()
	if fixed := now.unchangeable(n.server); len(fixed) > 0 {
		return fmt.Errorf("%s: %s changed, which turnwarden reads at its own start alone; turnwarden drain empties and stops it, then start it again", n.Conf.Path, strings.Join(fixed, ", "))
	}
	s, err := now.restarted(n, slog.New(slog.DiscardHandler))
	if err == nil {
		err = OwnAddresses(ctx, s.Conf)
	}
	if err == nil {
		err = CheckPorts(s.Conf, pid)
	}
	if err == nil && (n.Conf.TLS || n.Conf.DTLS) {
		_, err = chain(n.Conf)
	}
	if err == nil {
		c.staged.Store(n)
	}
	return err
}

// with is the host with other settings for everything but turnserver.
func (h *Host) with(cfg config.Node, logger *slog.Logger) (*Host, error) {
	is := *h
	is.Config = cfg
	if err := is.findInterfaces(logger); err != nil {
		return nil, err
	}
	if len(cfg.Registry.ZooKeeper) > 0 {
		if err := is.findAddress(logger); err != nil {
			return nil, err
		}
	}
	var err error
	if !reflect.DeepEqual(h.Config.API, cfg.API) || h.Config.Registry.Advertise != cfg.Registry.Advertise { // the rates of callers begin anew with each
		is.API, err = h.API.with(cfg.API, cfg.Registry.Advertise, logger)
	}
	return &is, err
}

// restarted is the host when turnserver has been started with n.
func (h *Host) restarted(n *next, logger *slog.Logger) (*Host, error) {
	is := *h
	is.server = n.server
	is.agreed = maps.Clone(h.agreed)
	delete(is.agreed, h.Config.Coturn.ConfigFile)
	is.agreed["coturn.config_file"], is.agreed[n.cfg.Coturn.ConfigFile] = n.cfg.Coturn.ConfigFile, n.sum
	return is.with(config.Take(h.Config, n.cfg, config.Drained), logger)
}

// unchangeable names the options of turnserver.conf that differ and that more than
// turnserver has read at the start.
func (h *Host) unchangeable(n server) (names []string) {
	for _, option := range []struct {
		name string
		of   func(c *coturn.Conf) string
	}{
		{"realm", func(c *coturn.Conf) string { return c.Realm }},
		{"userdb", func(c *coturn.Conf) string { return c.UserDB }},
		{"proc-user", func(c *coturn.Conf) string { return c.ProcUser }},
	} {
		if option.of(h.Conf) != option.of(n.Conf) && (option.name != "proc-user" || h.Config.Coturn.User == "") {
			names = append(names, option.name)
		}
	}
	return names
}
