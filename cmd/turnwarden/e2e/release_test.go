package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestReleaseIsReproducible builds a release from nothing in two directories that have
// nothing in common but their files, and compares the bytes.
func TestReleaseIsReproducible(t *testing.T) {
	if os.Getenv("TURNWARDEN_REPRODUCE") == "" {
		t.Skip("make reproduce runs this")
	}
	realtest.Require(t, "git", "make", "tar", "gzip")
	tools, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	files := sources(t)
	var releases [2]map[string]string
	var dist string
	for i, place := range []string{"a", "another/place, with blanks"} {
		dir := filepath.Join(t.TempDir(), place)
		copyFiles(t, files, dir)
		dist = filepath.Join(t.TempDir(), "dist")
		cmd := exec.Command("sh", "-c", fmt.Sprintf("umask %s; exec make \"$@\"", []string{"022", "077"}[i]), "make", "release",
			"CYCLONEDX="+filepath.Join(tools, "cyclonedx-gomod-v1.7.0"), "NFPM="+filepath.Join(tools, "nfpm-v2.45.2"),
			"VERSION=9.9.9", "REVISION=abcdef", "BRANCH=main", "DATE=2026-01-02T03:04:05+00:00", "DIST="+dist)
		cmd.Env = append(os.Environ(), "TZ="+[]string{"UTC", "Asia/Seoul"}[i], "GOCACHE="+t.TempDir())
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make: %v\n%s", err, out)
		}
		releases[i] = hashes(t, dist)
	}
	if fmt.Sprint(releases[0]) != fmt.Sprint(releases[1]) {
		t.Errorf("two builds of one commit differ:\n%v\n%v", releases[0], releases[1])
	}
	name := "turnwarden-9.9.9.linux-" + runtime.GOARCH
	if out, err := exec.Command("tar", "-C", dist, "-xzf", filepath.Join(dist, name+".tar.gz")).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	root := filepath.Join(dist, name)
	out, err := exec.Command(filepath.Join(root, "turnwarden"), "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "version 9.9.9 (branch: main, revision: abcdef)") || !strings.Contains(string(out), "2026-01-02T03:04:05") {
		t.Errorf("--version: %v\n%s", err, out)
	}
	for _, file := range []string{"LICENSE", "licenses/go/LICENSE", "licenses/github.com/go-zookeeper/zk/LICENSE"} {
		if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Error(err)
		}
	}
	if len(releases[0]) != 9 { // for each of two: tarball, SBOM, deb, rpm; and the checksums
		t.Errorf("the release is %v", releases[0])
	}
	for name, hash := range releases[0] {
		t.Logf("%s  %s", hash, name)
	}
	bill, err := os.ReadFile(filepath.Join(dist, name+".cdx.json"))
	var sbom struct {
		Components []struct{ Name, Version string }
	}
	if err != nil || json.Unmarshal(bill, &sbom) != nil || len(sbom.Components) < 20 || !bytes.Contains(bill, []byte("go-zookeeper/zk")) {
		t.Errorf("SBOM: %v, %d components", err, len(sbom.Components))
	}
}

// sources are the files of this module, as git knows them or would if they were added.
func sources(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	cmd.Dir = "../../.."
	out, err := cmd.Output()
	if err != nil {
		realtest.Missing(t, fmt.Sprintf("no files of git's: %v", err))
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func copyFiles(t *testing.T, files []string, dir string) {
	t.Helper()
	for _, file := range files {
		from, to := filepath.Join("../../..", file), filepath.Join(dir, file)
		info, err := os.Stat(from)
		if err != nil {
			continue // deleted and not committed
		}
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o755)
		}
		if err == nil {
			err = os.WriteFile(to, data, info.Mode().Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return all
}
