package dashboards

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// RunbookBaseURL is where the alerts find their runbooks unless Options say otherwise.
const RunbookBaseURL = "https://github.com/turnwarden/turnwarden/blob/main/docs/runbooks.md"

//go:embed rules/turnwarden.rules.yml rules/turnwarden.alerts.yml provisioning
var static embed.FS

// Options change what is written.
type Options struct {
	// RunbookBaseURL is the page that holds the runbooks, one anchor for each
	// alert. Empty is RunbookBaseURL of this package.
	RunbookBaseURL string
}

// Write writes dashboards, rules and provisioning examples below dir, which is
// made if need be. What is there under the same names is replaced.
func Write(dir string, o Options) error {
	files, err := Files(o)
	if err != nil {
		return err
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// Files returns what Write writes, by path.
func Files(o Options) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, d := range []dashboard{fleet(), node(), capacity(), gateway()} {
		content, err := d.marshal()
		if err != nil {
			return nil, err
		}
		files[d.UID+".json"] = content
	}
	base := RunbookBaseURL
	if o.RunbookBaseURL != "" {
		base = o.RunbookBaseURL
	}
	err := fs.WalkDir(static, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := static.ReadFile(path)
		files[path] = []byte(strings.ReplaceAll(string(content), RunbookBaseURL+"#", base+"#"))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read embedded files: %w", err)
	}
	return files, nil
}
