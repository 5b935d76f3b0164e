package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// makePackages has make build packages in a directory of the test's own, and returns
// their paths.
func makePackages(t *testing.T, args ...string) []string {
	t.Helper()
	realtest.Require(t, "make", "dpkg-deb")
	if found, _ := filepath.Glob("../../../bin/nfpm-*"); len(found) == 0 {
		realtest.Missing(t, "nfpm is not built: run `make deb` once")
	}
	dist := t.TempDir()
	output(t, "make", slices.Concat([]string{"-s", "-C", "../../..", "BIN=" + t.TempDir(), "DIST=" + dist}, args)...)
	packages, err := filepath.Glob(filepath.Join(dist, "*"))
	if err != nil || len(packages) == 0 {
		t.Fatalf("make %q has built nothing (%v)", args, err)
	}
	return packages
}

// output runs a program to its end and returns what it prints.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestPackages looks into the packages. TestInstalledPackage (make test-packages) installs
// the one for Debian.
func TestPackages(t *testing.T) {
	t.Parallel()
	packages, again := makePackages(t, "deb", "rpm", "VERSION=1.2.3"), makePackages(t, "deb", "rpm", "VERSION=1.2.3")
	if len(packages) != 2 || !strings.HasPrefix(filepath.Base(packages[0]), "turnwarden-1.2.3-1.") || !strings.HasPrefix(filepath.Base(packages[1]), "turnwarden_1.2.3_") {
		t.Fatalf("the packages are called %q", packages)
	}
	for i := range packages {
		a, errA := os.ReadFile(packages[i])
		b, errB := os.ReadFile(again[i])
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("two builds of %s differ (%v, %v)", filepath.Base(packages[i]), errA, errB)
		}
	}
	testDebianPackage(t, packages[1])
}

func testDebianPackage(t *testing.T, deb string) {
	t.Helper()
	fields := output(t, "dpkg-deb", "--field", deb)
	for _, want := range []string{"Package: turnwarden", "Version: 1.2.3", "Depends: coturn, sqlite3, init-system-helpers"} {
		if !strings.Contains(fields, want+"\n") {
			t.Errorf("no line %q in\n%s", want, fields)
		}
	}
	content := output(t, "dpkg-deb", "--contents", deb)
	for path, mode := range map[string]string{
		"/usr/bin/turnwarden":                                "-rwxr-xr-x",
		"/usr/lib/systemd/system/turnwarden.service":         "-rw-r--r--",
		"/usr/lib/systemd/system/turnwarden-gateway.service": "-rw-r--r--",
		"/etc/turnwarden/turnwarden.yml":                     "-rw-r--r--",
		"/etc/turnwarden/gateway.yml":                        "-rw-r--r--",
		"/etc/turnwarden/secrets/":                           "drwx------",
		"/usr/share/man/man1/turnwarden.1.gz":                "-rw-r--r--",
		"/usr/share/bash-completion/completions/turnwarden":  "-rw-r--r--",
		"/usr/share/zsh/vendor-completions/_turnwarden":      "-rw-r--r--",
		"/usr/share/turnwarden/turnwarden-node.json":         "-rw-r--r--",
		"/usr/share/turnwarden/rules/turnwarden.alerts.yml":  "-rw-r--r--",
		"/usr/share/turnwarden/ecosystem.config.cjs":         "-rw-r--r--",
		"/usr/share/doc/turnwarden/copyright":                "-rw-r--r--",
		"/usr/share/doc/turnwarden/licenses/go/LICENSE":      "-rw-r--r--",
		"/usr/share/doc/turnwarden/changelog.gz":             "-rw-r--r--",
		"/usr/share/turnwarden/provisioning/prometheus/":     "drwxr-xr-x",
		"/usr/share/turnwarden/provisioning/datasources/":    "drwxr-xr-x",
		"/usr/share/turnwarden/provisioning/dashboards/":     "drwxr-xr-x",
		"/usr/share/turnwarden/rules/turnwarden.rules.yml":   "-rw-r--r--",
		"/usr/share/turnwarden/turnwarden-capacity.json":     "-rw-r--r--",
		"/usr/share/turnwarden/turnwarden-fleet.json":        "-rw-r--r--",
	} {
		if !regexp.MustCompile(`(?m)^` + mode + ` root/root .* \.` + regexp.QuoteMeta(path) + `$`).MatchString(content) {
			t.Errorf("%s, mode %s and root's, is not in the package", path, mode)
		}
	}

	root := t.TempDir()
	output(t, "dpkg-deb", "--raw-extract", deb, root)
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		output(t, "sh", "-n", filepath.Join(root, "DEBIAN", script))
	}
	conffiles, _ := os.ReadFile(filepath.Join(root, "DEBIAN/conffiles"))
	if got := strings.Fields(string(conffiles)); !slices.Equal(got, []string{"/etc/turnwarden/gateway.yml", "/etc/turnwarden/turnwarden.yml"}) {
		t.Errorf("conffiles: %q", got)
	}
	if said := output(t, filepath.Join(root, "usr/bin/turnwarden"), "--version"); !strings.Contains(said, "version 1.2.3 ") {
		t.Errorf("the program says: %s", said)
	}
	page := output(t, "gzip", "-dc", filepath.Join(root, "usr/share/man/man1/turnwarden.1.gz"))
	if !regexp.MustCompile(`^\.TH turnwarden 1 "\d{4}-\d\d-\d\d" "turnwarden 1\.2\.3"\n\.SH "NAME"\n`).MatchString(page) || !strings.Contains(page, "handover") {
		t.Errorf("the man page begins with:\n%.200s", page)
	}
	testUnits(t, root)
}

// testUnits has systemd read the units of an unpacked package.
func testUnits(t *testing.T, root string) {
	t.Helper()
	realtest.Require(t, "systemd-analyze", "/usr/lib/systemd/system/sysinit.target")
	output(t, "cp", "-rn", "/usr/lib/systemd/system/.", filepath.Join(root, "usr/lib/systemd/system"))
	if said := output(t, "systemd-analyze", "verify", "--root="+root, "--man=no", "turnwarden.service", "turnwarden-gateway.service"); said != "" {
		t.Errorf("systemd-analyze verify: %s", said)
	}
	for unit, limit := range map[string]float64{"turnwarden.service": 2.0, "turnwarden-gateway.service": 1.5} { // 1.7 and 1.3 with systemd 252
		said := output(t, "systemd-analyze", "security", "--offline=true", "--no-pager", "--root="+root, unit)
		level := regexp.MustCompile(`exposure level for ` + unit + `: ([0-9.]+)`).FindStringSubmatch(said)
		if level == nil {
			t.Fatalf("systemd-analyze security: %s", said)
		}
		if exposure, err := strconv.ParseFloat(level[1], 64); err != nil || exposure > limit {
			t.Errorf("%s: exposure %s, want at most %.1f", unit, level[1], limit)
		}
	}

	unit, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/turnwarden.service"))
	if err != nil {
		t.Fatal(err)
	}
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)min$`).FindSubmatch(unit)
	if stop == nil {
		t.Fatal("no TimeoutStopSec in minutes")
	}
	minutes, _ := strconv.Atoi(string(stop[1]))
	defaults, err := config.LoadNode("../../../deploy/turnwarden.yml")
	if err != nil {
		t.Fatal(err)
	}
	if needed := defaults.Coturn.DrainTimeout + defaults.Coturn.StopTimeout + 15*time.Second; time.Duration(minutes)*time.Minute <= needed {
		t.Errorf("TimeoutStopSec is %d min, and an orderly stop may take %v", minutes, needed)
	}
}

// TestRPM looks into the package for the coturn of Fedora and EPEL, which has other paths
// and another user. It is not installed: there is no such system here.
func TestRPM(t *testing.T) {
	if os.Getenv("TURNWARDEN_PACKAGES") == "" {
		t.Skip("it needs rpm: make test-packages")
	}
	realtest.Require(t, "rpm", "rpm2cpio", "cpio")
	rpm := makePackages(t, "rpm", "VERSION=1.2.3")[0]
	if said := output(t, "rpm", "-qp", "--queryformat=%{name} %{version}\n", rpm); !strings.Contains(said, "turnwarden 1.2.3\n") {
		t.Errorf("it is %s", said)
	}
	if conf := strings.Fields(output(t, "rpm", "-qp", "--configfiles", rpm)); !slices.Equal(conf, []string{"/etc/turnwarden/gateway.yml", "/etc/turnwarden/turnwarden.yml"}) {
		t.Errorf("configuration files: %q", conf)
	}
	root := t.TempDir()
	output(t, "sh", "-c", `cd "$1" && rpm2cpio "$2" | cpio --quiet --no-absolute-filenames -id`, "sh", root, rpm)
	for path, want := range map[string]string{
		"etc/turnwarden/turnwarden.yml":                                  "\n  config_file: /etc/coturn/turnserver.conf\n",
		"usr/lib/systemd/system/turnwarden.service.d/coturn-of-rpm.conf": "\nUser=coturn\n",
	} {
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil || !strings.Contains(string(content), want) {
			t.Errorf("%s has no line %q (%v)", path, strings.TrimSpace(want), err)
		}
	}
	testUnits(t, root)
}
