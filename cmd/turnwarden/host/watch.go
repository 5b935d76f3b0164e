package host

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

// Watched is a file, or files that belong together, that may be replaced while we run.
type Watched struct {
	Key   string // of the configuration
	Paths []string
	Use   func(contents [][]byte) error

	mu   sync.Mutex
	last [][]byte
	err  error // what is wrong with last
}

// Look reads the files and uses them if they have changed. Contents are compared, and
// not times: a file can change twice within one tick of the file system's clock.
func (w *Watched) Look() (changed bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var contents [][]byte
	for _, path := range w.Paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return false, fmt.Errorf("%s: %w", w.Key, err)
		}
		contents = append(contents, content)
	}
	if slices.EqualFunc(contents, w.last, bytes.Equal) {
		return false, w.err
	}
	w.last, w.err = contents, nil
	if err := w.Use(contents); err != nil {
		w.err = fmt.Errorf("%s: %s: %w", w.Key, strings.Join(w.Paths, ", "), err)
	}
	return w.err == nil, w.err
}

// Watch uses what changes in the files. A mistake in one, which is logged, leaves in force
// what it said before.
func Watch(ctx context.Context, files func() []*Watched, logger *slog.Logger, usable metrics.Gauge) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := map[string]string{} // by key
	for {
		all := files()
		for key := range said {
			if !slices.ContainsFunc(all, func(f *Watched) bool { return f.Key == key }) {
				delete(said, key)
				usable.With("key", key).Set(1) // nothing that is asked for is amiss
			}
		}
		for _, f := range all {
			changed, err := f.Look()
			if changed {
				logger.Info("reloaded", "key", f.Key, "path", f.Paths)
			}
			if err == nil {
				said[f.Key] = ""
				usable.With("key", f.Key).Set(1)
				continue
			}
			usable.With("key", f.Key).Set(0)
			if err.Error() != said[f.Key] {
				said[f.Key] = err.Error()
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
