package realtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Coturn is a release of coturn as a suite of Debian ships it, beside the one that this
// machine has.
type Coturn struct {
	Suite      string // "bullseye"
	Package    string // "4.5.2-3"
	Turnserver string
	Turnadmin  string
}

// FetchCoturn downloads the coturn of a suite with everything it is linked with, once, with
// the machine's own apt but lists, state and cache of its own, and installs nothing. The
// programs run with the loader and the libraries of their suite. A suite whose package is
// newer than what the cache has is downloaded again; without a network the cache will do.
func FetchCoturn(t testing.TB, suite string) Coturn {
	t.Helper()
	Require(t, "apt-get", "apt-cache", "dpkg-deb")
	cache, err := os.UserCacheDir()
	if err != nil {
		Missing(t, fmt.Sprintf("no directory for caches: %v", err))
	}
	a := aptCache{dir: filepath.Join(cache, "turnwarden", "coturn", suite)}
	version, err := a.candidate(suite)
	if err != nil {
		if version = a.latest(); version == "" {
			Missing(t, fmt.Sprintf("coturn of %s cannot be downloaded: %v", suite, err))
		}
		t.Logf("coturn of %s: %s, from the cache (%v)", suite, version, err)
	}
	bin := filepath.Join(a.dir, version, "bin")
	if _, err := os.Stat(bin); err != nil {
		if err := a.unpack(version); err != nil {
			Missing(t, fmt.Sprintf("coturn of %s cannot be unpacked: %v", suite, err))
		}
	}
	return Coturn{suite, version, filepath.Join(bin, "turnserver"), filepath.Join(bin, "turnadmin")}
}

// aptCache is where apt keeps what it knows of one suite.
type aptCache struct{ dir string }

// candidate is the version that the suite has today.
func (a aptCache) candidate(suite string) (string, error) {
	for _, dir := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, dir), 0o755); err != nil {
			return "", err
		}
	}
	var all error
	for _, mirror := range mirrors() {
		source := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, suite)
		err := errors.Join(os.WriteFile(filepath.Join(a.dir, "sources.list"), []byte(source), 0o644), os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644))
		if err == nil {
			err = a.run("apt-get", "update", "-q", "--error-on=any")
		}
		if err == nil {
			var policy []byte
			if policy, err = a.command("apt-cache", "policy", "coturn").Output(); err == nil {
				if m := regexp.MustCompile(`(?m)^  Candidate: ([0-9]\S*)$`).FindSubmatch(policy); m != nil {
					return string(m[1]), nil
				}
				err = fmt.Errorf("%s has no coturn", mirror)
			}
		}
		all = errors.Join(all, err)
	}
	return "", all
}

// mirrors are those of this machine that look like Debian's, and the archive of old
// releases where the environment names one.
func mirrors() (all []string) {
	out, _ := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	for uri := range strings.Lines(string(out)) {
		if uri = strings.TrimRight(strings.TrimSpace(uri), "/"); strings.HasSuffix(uri, "/debian") {
			all = append(all, uri)
			break
		}
	}
	if archive := os.Getenv("TURNWARDEN_DEBIAN_ARCHIVE"); archive != "" {
		all = append(all, archive)
	}
	return all
}

// latest is what the cache has, when nobody can be asked.
func (a aptCache) latest() string {
	bins, _ := filepath.Glob(filepath.Join(a.dir, "*", "bin"))
	newest, version := int64(0), ""
	for _, bin := range bins {
		if info, err := os.Stat(bin); err == nil && info.ModTime().UnixNano() > newest {
			newest, version = info.ModTime().UnixNano(), filepath.Base(filepath.Dir(bin))
		}
	}
	return version
}

// unpack leaves the programs of a version in its bin, which is there only when all is.
func (a aptCache) unpack(version string) error {
	if err := a.run("apt-get", "clean"); err != nil {
		return err
	}
	if err := a.run("apt-get", "install", "-y", "-q", "--download-only", "coturn="+version); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(a.dir, "archives", "*.deb"))
	if err != nil || len(debs) == 0 {
		return fmt.Errorf("nothing was downloaded: %w", err)
	}
	root := filepath.Join(a.dir, version, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, deb := range debs {
		if out, err := exec.Command("dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", deb, err, out)
		}
	}
	return errors.Join(wrap(root, filepath.Join(a.dir, version, "bin")), a.run("apt-get", "clean"))
}

// wrap writes scripts that run turnserver and turnadmin with the loader of their root. The
// loader is copied under the name of the program, which is then the name of the process.
func wrap(root, bin string) error {
	var loaders, libraries []string
	for _, prefix := range []string{"lib", "usr/lib"} {
		found, _ := filepath.Glob(filepath.Join(root, prefix, "*", "ld-linux*.so.*"))
		dirs, _ := filepath.Glob(filepath.Join(root, prefix, "*-linux-gnu*"))
		loaders, libraries = append(loaders, found...), append(libraries, dirs...)
	}
	if len(loaders) == 0 {
		return fmt.Errorf("%s: no loader in it", root)
	}
	loader, err := os.ReadFile(loaders[0])
	if err != nil {
		return err
	}
	tmp := bin + ".new"
	if err := os.MkdirAll(filepath.Join(tmp, "loader"), 0o755); err != nil {
		return err
	}
	for _, program := range []string{"turnserver", "turnadmin"} {
		script := fmt.Sprintf("#!/bin/sh\nexec %q --library-path %q %q \"$@\"\n",
			filepath.Join(bin, "loader", program), strings.Join(libraries, ":"), filepath.Join(root, "usr/bin", program))
		err := errors.Join(os.WriteFile(filepath.Join(tmp, "loader", program), loader, 0o755), os.WriteFile(filepath.Join(tmp, program), []byte(script), 0o755))
		if err != nil {
			return err
		}
	}
	return os.Rename(tmp, bin)
}

func (a aptCache) command(name string, args ...string) *exec.Cmd {
	options := []string{
		"Dir::Etc::sourcelist=" + filepath.Join(a.dir, "sources.list"), "Dir::Etc::sourceparts=/dev/null",
		"Dir::State::status=" + filepath.Join(a.dir, "status"), "Dir::State::lists=" + filepath.Join(a.dir, "lists"),
		"Dir::Cache=" + a.dir, "Dir::Cache::archives=" + filepath.Join(a.dir, "archives"), "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=",
		"APT::Sandbox::User=", "APT::Install-Recommends=false", "Acquire::Languages=none", "Acquire::Check-Valid-Until=false",
	}
	for _, o := range options {
		args = append([]string{"-o", o}, args...)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return cmd
}

func (a aptCache) run(name string, args ...string) error {
	if out, err := a.command(name, args...).CombinedOutput(); err != nil {
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		return fmt.Errorf("%s %s: %w: %s", name, args[0], err, lines[len(lines)-1])
	}
	return nil
}
