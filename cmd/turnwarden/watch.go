package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/kit/metrics"
)

// watched is a file, or files that belong together, that may be replaced while we run.
type watched struct {
	key   string // of the configuration
	paths []string
	use   func(contents [][]byte) error

	mu   sync.Mutex
	last [][]byte
	err  error // what is wrong with last
}

// look reads the files and uses them if they have changed. Contents are compared, and
// not times: a file can change twice within one tick of the file system's clock.
func (w *watched) look() (changed bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var contents [][]byte
	for _, path := range w.paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return false, fmt.Errorf("%s: %w", w.key, err)
		}
		contents = append(contents, content)
	}
	if slices.EqualFunc(contents, w.last, bytes.Equal) {
		return false, w.err
	}
	w.last, w.err = contents, nil
	if err := w.use(contents); err != nil {
		w.err = fmt.Errorf("%s: %s: %w", w.key, strings.Join(w.paths, ", "), err)
	}
	return w.err == nil, w.err
}

// watch uses what changes in the files. A mistake in one, which is logged, leaves in force
// what it said before.
func watch(ctx context.Context, files func() []*watched, logger *slog.Logger, usable metrics.Gauge) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := map[string]string{} // by key
	for {
		all := files()
		for key := range said {
			if !slices.ContainsFunc(all, func(f *watched) bool { return f.key == key }) {
				delete(said, key)
				usable.With("key", key).Set(1) // nothing that is asked for is amiss
			}
		}
		for _, f := range all {
			changed, err := f.look()
			if changed {
				logger.Info("reloaded", "key", f.key, "path", f.paths)
			}
			if err == nil {
				said[f.key] = ""
				usable.With("key", f.key).Set(1)
				continue
			}
			usable.With("key", f.key).Set(0)
			if err.Error() != said[f.key] {
				said[f.key] = err.Error()
				logger.Error("a file that has changed cannot be used: what it said before stays in force", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
