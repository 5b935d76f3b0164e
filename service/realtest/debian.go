package realtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Debian is a whole Debian 12 of its own, with its systemd and its dpkg, in a container that
// shares nothing with this host but the kernel and a cable.
type Debian struct {
	Host, IP string // our address on the cable, and the container's
	Root     string // its files

	t      testing.TB
	nspawn *exec.Cmd
	log    string
}

// StartDebian makes one, downloads packages into it that apt can install there later without
// a network, and boots it until the test ends. debootstrap takes about a minute; with
// TURNWARDEN_DEBIAN=DIRECTORY its tree is kept there for the next time.
func StartDebian(t testing.TB, packages ...string) *Debian {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "a container with a systemd of its own needs root")
	}
	Require(t, "debootstrap", "systemd-nspawn", "nsenter", "unshare", "ip", "cp")
	d := &Debian{t: t, Root: filepath.Join(t.TempDir(), "root"), log: filepath.Join(t.TempDir(), "console")}
	tree := os.Getenv("TURNWARDEN_DEBIAN")
	if tree == "" {
		d.bootstrap(d.Root, packages)
	} else {
		if _, err := os.Stat(filepath.Join(tree, "complete")); err != nil {
			d.bootstrap(tree, packages)
			d.host("touch", filepath.Join(tree, "complete"))
		}
		d.host("cp", "-a", tree, d.Root)
	}
	d.boot(d.cable())
	return d
}

func (d *Debian) bootstrap(tree string, packages []string) {
	d.t.Helper()
	// It mounts things into the tree, which must be gone before anybody removes that, even if
	// the test is killed meanwhile.
	d.host("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "debootstrap", "--variant=minbase", "--include=systemd-sysv,dbus,iproute2,procps,ca-certificates", "bookworm", tree)
	d.host("cp", "/etc/resolv.conf", filepath.Join(tree, "etc/resolv.conf"))
	d.host("chroot", tree, "apt-get", "update")
	d.host(append([]string{"chroot", tree, "apt-get", "install", "-y", "--no-install-recommends", "--download-only"}, packages...)...)
}

// cable returns the network namespace of the container, which has the far end.
func (d *Debian) cable() string {
	d.t.Helper()
	name := fmt.Sprintf("tw%dd", os.Getpid()) // one at a time in a process
	net := fmt.Sprintf("10.214.%d", os.Getpid()%250)
	d.Host, d.IP = net+".1", net+".2"
	d.host("ip", "netns", "add", name)
	d.t.Cleanup(func() { d.host("ip", "netns", "del", name) })
	for _, line := range []string{
		"ip link add " + name + " type veth peer name wan netns " + name,
		"ip addr add " + d.Host + "/24 dev " + name,
		"ip link set dev " + name + " up",
		"ip -n " + name + " link set dev lo up",
		"ip -n " + name + " addr add " + d.IP + "/24 dev wan",
		"ip -n " + name + " link set dev wan up",
		"ip -n " + name + " route add default via " + d.Host,
	} {
		d.host(strings.Fields(line)...)
	}
	d.t.Cleanup(func() { d.host("ip", "link", "del", name) })
	return "/run/netns/" + name
}

func (d *Debian) boot(namespace string) {
	d.t.Helper()
	d.nspawn = exec.Command("systemd-nspawn", "--quiet", "--boot", "--directory="+d.Root, "--machine=turn",
		"--register=no", "--keep-unit", "--console=pipe", "--network-namespace-path="+namespace)
	exited := Spawn(d.t, d.nspawn, d.log)
	d.t.Cleanup(func() {
		if d.t.Failed() {
			console, _ := os.ReadFile(d.log)
			d.t.Logf("the container's console:\n%s", console)
		}
		_ = d.nspawn.Process.Kill() // what it runs ends with it
		<-exited
	})
	Eventually(d.t, 5*time.Minute, func() error {
		state, err := d.Try("systemctl", "is-system-running")
		if s := strings.TrimSpace(state); s == "running" || s == "degraded" {
			return nil
		}
		return fmt.Errorf("its systemd says %q (%v)", state, err)
	})
}

// Try runs a program in the container and returns all that it prints.
func (d *Debian) Try(args ...string) (string, error) {
	out, err := d.Command(args...).CombinedOutput()
	return string(out), err
}

// Must runs a program in the container, which must succeed, and returns all that it prints.
func (d *Debian) Must(args ...string) string {
	d.t.Helper()
	out, err := d.Try(args...)
	if err != nil {
		d.t.Fatalf("%s in the container: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Command is a program that is to run in the container.
func (d *Debian) Command(args ...string) *exec.Cmd {
	// Its first process is the only child of nspawn.
	leader, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", d.nspawn.Process.Pid))
	enter := []string{
		"--target", strings.TrimSpace(string(leader)), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive",
	}
	return exec.Command("nsenter", append(enter, args...)...)
}

// host runs a program beside the container.
func (d *Debian) host(args ...string) {
	d.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
