package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/drain"
	"github.com/turnwarden/turnwarden/service/journal"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/admin"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// operator notes what it is asked, and does what the test says.
type operator struct {
	admin.Accounts
	asked chan string
	do    func(ctx context.Context, report func(service.Step)) error
}

func (o operator) Rotate(ctx context.Context, by string, report func(service.Step)) error {
	o.asked <- "rotate by " + by
	return o.do(ctx, report)
}

func (o operator) Revoke(ctx context.Context, r service.RevokeRequest, by string, report func(service.Step)) error {
	o.asked <- fmt.Sprintf("revoke %+v by %s", r, by)
	return o.do(ctx, report)
}

func (o operator) Maintenance(ctx context.Context, on bool, by string, report func(service.Step)) error {
	o.asked <- fmt.Sprintf("maintenance %v by %s", on, by)
	return o.do(ctx, report)
}

func (o operator) Drain(ctx context.Context, r service.DrainRequest, by string, report func(service.Step)) error {
	o.asked <- fmt.Sprintf("drain %+v by %s", r, by)
	return o.do(ctx, report)
}

func (o operator) Resume(ctx context.Context, by string, report func(service.Step)) error {
	o.asked <- "resume by " + by
	return o.do(ctx, report)
}

// startAdmin serves o on a socket that everybody may write.
func startAdmin(t *testing.T, do func(ctx context.Context, report func(service.Step)) error) (socket string, o operator) {
	t.Helper()
	socket = listen(t, func(l net.Listener) {
		o = operator{asked: make(chan string, 1), do: do}
		s := &http.Server{Handler: admin.NewHandler(o, shown()), ConnContext: admin.ConnContext}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	})
	return socket, o
}

func listen(t *testing.T, serve func(net.Listener)) (socket string) {
	t.Helper()
	dir := t.TempDir()
	socket = filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for path, mode := range map[string]os.FileMode{socket: 0o777, dir: 0o755, filepath.Dir(dir): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	serve(l)
	return socket
}

// post sends a request as the user that the connection was made by.
func post(t *testing.T, c net.Conn, method, path, body string) (code int, reply string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: turnwarden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// dialAs connects as another user. The kernel notes who has called connect(2), so that
// one thread changes its effective user for that call.
func dialAs(t *testing.T, uid uintptr, socket string) net.Conn {
	t.Helper()
	if os.Geteuid() != 0 {
		realtest.Missing(t, "only root can become another user")
	}
	const same = ^uintptr(0)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, uid, same); errno != 0 {
		t.Fatal(errno)
	}
	c, err := net.Dial("unix", socket)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, 0, same); errno != 0 {
		panic(errno) // not one more test as that user
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestPeer(t *testing.T) {
	socket, o := startAdmin(t, func(context.Context, func(service.Step)) error { return nil })
	for path, body := range map[string]string{"/v1/rotate": "{}", "/v1/revoke": `{"All":true}`, "/v1/maintenance": `{"On":true}`, "/v1/drain": `{"Then":"stop"}`, "/v1/resume": "{}"} {
		code, reply := post(t, dialAs(t, 65534, socket), "POST", path, body)
		if code != http.StatusForbidden || strings.TrimSpace(reply) != "only root and the user of turnwarden may use the admin socket" {
			t.Errorf("%s as nobody: %d %s", path, code, reply)
		}
		if len(o.asked) > 0 {
			t.Fatalf("%s as nobody was done: %s", path, <-o.asked)
		}
		code, reply = post(t, dial(t, socket), "POST", path, body)
		if code != http.StatusOK || !strings.Contains(reply, `"done":true`) {
			t.Errorf("%s: %d %s", path, code, reply)
		}
		if asked, by := <-o.asked, fmt.Sprintf("by uid %d", os.Geteuid()); !strings.HasSuffix(asked, by) {
			t.Errorf("%s: asked to %s, want %s", path, asked, by)
		}
	}

	// Without the kernel's word there is none: on TCP, and without ConnContext.
	response, body := transporttest.Ask(t, transporttest.Serve(t, admin.NewHandler(o, shown())), "POST", "/v1/rotate", nil)
	if response.StatusCode != http.StatusForbidden || len(o.asked) > 0 {
		t.Errorf("over TCP: %d %s", response.StatusCode, body)
	}
}

func TestRequests(t *testing.T) {
	socket, o := startAdmin(t, func(context.Context, func(service.Step)) error { return nil })
	root := fmt.Sprintf("by uid %d", os.Geteuid())
	for name, c := range map[string]struct {
		method, path, body string
		code               int
		reply              string // part of it
		asked              string // "" = nothing
	}{
		"rotate":                {"POST", "/v1/rotate", "{}", 200, `"done":true`, "rotate " + root},
		"revoke":                {"POST", "/v1/revoke", `{"Generation":3,"KeepCalls":true}`, 200, `"done":true`, "revoke {Generation:3 All:false User: KeepCalls:true Wait:false} " + root},
		"maintenance":           {"POST", "/v1/maintenance", `{"On":true}`, 200, `"done":true`, "maintenance true " + root},
		"drain":                 {"POST", "/v1/drain", `{"Limit":60000000000,"Then":"hold","NoLock":true}`, 200, `"done":true`, "drain {Limit:1m0s Then:hold NoLock:true} " + root},
		"resume":                {"POST", "/v1/resume", "{}", 200, `"done":true`, "resume " + root},
		"an unknown field":      {"POST", "/v1/revoke", `{"All":true,"Force":true}`, 200, `read the request: json: unknown field \"Force\"`, ""},
		"a wrong type":          {"POST", "/v1/revoke", `{"Generation":"all"}`, 200, "read the request: json: cannot unmarshal string", ""},
		"a negative number":     {"POST", "/v1/revoke", `{"Generation":-1}`, 200, "read the request: json: cannot unmarshal number", ""},
		"nothing":               {"POST", "/v1/revoke", "", 200, "read the request: EOF", ""},
		"half of it":            {"POST", "/v1/revoke", `{"All":true`, 200, "read the request: unexpected EOF", ""},
		"too much":              {"POST", "/v1/revoke", `{"User":"` + strings.Repeat("a", 64<<10) + `"}`, 200, "read the request: http: request body too large", ""},
		"too much before":       {"POST", "/v1/revoke", strings.Repeat(" ", 64<<10) + `{"All":true}`, 200, "read the request: http: request body too large", ""},
		"another method":        {"GET", "/v1/revoke", "", 405, "Method Not Allowed", ""},
		"another path":          {"POST", "/v1/nowhere", "{}", 404, "not found", ""},
		"the path of the pages": {"GET", "/metrics", "", 404, "not found", ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, reply := post(t, dial(t, socket), c.method, c.path, c.body)
			if code != c.code || !strings.Contains(reply, c.reply) || strings.Count(strings.TrimSpace(reply), "\n") > 0 {
				t.Errorf("got %d %s\nwant %d %s", code, reply, c.code, c.reply)
			}
			asked := ""
			if len(o.asked) > 0 {
				asked = <-o.asked
			}
			if asked != c.asked {
				t.Errorf("asked to %q, want %q", asked, c.asked)
			}
		})
	}
}

// TestStreams shows that a step can be read while the next is under way.
func TestStreams(t *testing.T) {
	read := make(chan struct{})
	socket, o := startAdmin(t, func(_ context.Context, report func(service.Step)) error {
		report(service.Step{Name: "delete", Detail: "generation 1", Took: 1500 * time.Millisecond})
		<-read
		report(service.Step{Name: "refused", Detail: "<generation> 1", Err: errors.New("generation 1 is still accepted")})
		<-read
		return errors.New("calls are left")
	})
	want := []admin.Step{
		{Step: "delete", Detail: "generation 1", Seconds: 1.5},
		{Step: "refused", Detail: "<generation> 1", Error: "generation 1 is still accepted"},
	}
	var got []admin.Step
	err := admin.NewClient(socket).Revoke(t.Context(), service.RevokeRequest{User: "tw-0123456789-alice", Wait: true}, func(s admin.Step) {
		got = append(got, s)
		read <- struct{}{}
	})
	if err == nil || err.Error() != "calls are left" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if asked := <-o.asked; !strings.Contains(asked, "User:tw-0123456789-alice KeepCalls:false Wait:true") {
		t.Errorf("asked to %s", asked)
	}
}

// TestDrainCuts: the number of calls that a deadline has ended arrives, and how a
// wait goes is told from what was done.
func TestDrainCuts(t *testing.T) {
	socket, _ := startAdmin(t, func(_ context.Context, report func(service.Step)) error {
		report(service.Step{Name: "ending", Detail: "7 calls left", Passing: true})
		return fmt.Errorf("drain: %w", &service.CutError{Calls: 7})
	})
	var got []admin.Step
	err := admin.NewClient(socket).Drain(t.Context(), service.DrainRequest{Then: service.ThenStop}, func(s admin.Step) { got = append(got, s) })
	if cut, ok := errors.AsType[*service.CutError](err); !ok || cut.Calls != 7 || err.Error() != "the deadline has cut 7 calls" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]admin.Step{{Step: "ending", Detail: "7 calls left", Passing: true}}, got); diff != "" {
		t.Error(diff)
	}
}

// TestClientGone: an operation is not tied to the wait of the one who asked.
func TestClientGone(t *testing.T) {
	ended := make(chan struct{})
	socket, _ := startAdmin(t, func(ctx context.Context, report func(service.Step)) error {
		report(service.Step{Name: "delete"})
		<-ctx.Done()
		report(service.Step{Name: "after"})
		close(ended)
		return nil
	})
	ctx, hangUp := context.WithCancel(t.Context())
	err := admin.NewClient(socket).Revoke(ctx, service.RevokeRequest{All: true}, func(admin.Step) { hangUp() })
	if err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the operation does not see that nobody waits")
	}
}

// TestClientErrors: whatever is at the other end, the operator reads one line.
func TestClientErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	// says answers every request with the same bytes, and hangs up.
	says := func(answer string) string {
		return listen(t, func(l net.Listener) {
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, answer)
					_ = c.Close()
				}
			}()
		})
	}
	const ok, hint = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "; is turnwarden running, is this its admin.socket (--socket names another), and are you root or its user?"
	for name, c := range map[string]struct{ socket, want string }{
		"no socket":         {filepath.Join(dir, "none"), "none: connect: no such file or directory" + hint},
		"a stale one":       {stale, "connect: connection refused" + hint},
		"a file":            {file, "connect: connection refused" + hint},
		"a directory":       {dir, "connect: connection refused" + hint},
		"a long path":       {filepath.Join(dir, strings.Repeat("x", 200)), "connect: invalid argument" + hint},
		"hung up":           {says(""), "ask turnwarden: EOF"},
		"another protocol":  {says("220 mail\r\n250 ok\r\n"), "ask turnwarden: net/http: HTTP/1.x transport connection broken: malformed HTTP"},
		"another service":   {says("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\noops\n"), "turnwarden says 404 Not Found: oops"},
		"forbidden":         {says("HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nonly root\n"), "turnwarden says 403 Forbidden: only root"},
		"cut off":           {says(ok + `{"step":"delete","seconds":0}` + "\n"), "the answer ended early; turnwarden's log says what was done: unexpected EOF"},
		"cut off in a line": {says(ok + `{"step":"de`), "the answer ended early; turnwarden's log says what was done: unexpected EOF"},
		"no outcome":        {says("HTTP/1.0 200 OK\r\n\r\n" + `{"step":"delete","seconds":0}`), "the answer ended early; turnwarden's log says what was done: EOF"},
		"not JSON":          {says("HTTP/1.0 200 OK\r\n\r\n<html>"), "the answer ended early; turnwarden's log says what was done: invalid character '<' looking for beginning of value"},
	} {
		t.Run(name, func(t *testing.T) {
			client := admin.NewClient(c.socket)
			for _, ask := range []func(context.Context, func(admin.Step)) error{
				client.Rotate,
				func(ctx context.Context, report func(admin.Step)) error {
					return client.Revoke(ctx, service.RevokeRequest{All: true}, report)
				},
			} {
				err := ask(t.Context(), func(admin.Step) {})
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v\nwant %s", err, c.want)
				}
			}
		})
	}
}

// TestReplyHoldsNoSecret has a real node rotate and revoke.
func TestReplyHoldsNoSecret(t *testing.T) {
	n := transporttest.MintingNode(t, "")
	socket := listen(t, func(l net.Listener) {
		s := &http.Server{Handler: admin.NewHandler(struct {
			*node.Node
			*drain.Drainer
		}{Node: n}, shown()), ConnContext: admin.ConnContext}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	})
	for _, request := range []struct{ path, body string }{
		{"/v1/rotate", "{}"}, {"/v1/revoke", `{"All":true,"KeepCalls":true}`}, {"/v1/revoke", `{"User":"nobody"}`},
	} {
		before, err := n.Credential(t.Context(), service.CredentialRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, reply := post(t, dial(t, socket), "POST", request.path, request.body)
		after, err := n.Credential(t.Context(), service.CredentialRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(reply) {
			if !json.Valid([]byte(line)) {
				t.Errorf("not JSON: %s", line)
			}
		}
		if strings.Contains(reply, before.Password.Reveal()) || strings.Contains(reply, after.Password.Reveal()) || !strings.Contains(reply, `"done":true`) {
			t.Errorf("%s: %s", request.path, reply)
		}
	}
}

// shown is a node that serves, and whose log has three lines.
func shown() admin.Watched {
	tail := journal.NewTail()
	fmt.Fprintln(tail, "one")
	fmt.Fprintln(tail, "two")
	fmt.Fprintln(tail, "three")
	return admin.Watched{Status: transporttest.Up, Log: tail}
}

func readable(t *testing.T) (*admin.Client, *journal.Tail) {
	w := shown()
	return admin.NewClient(listen(t, func(l net.Listener) {
		s := &http.Server{Handler: admin.NewHandler(operator{}, w), ConnContext: admin.ConnContext}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	})), w.Log.(*journal.Tail)
}

func TestReads(t *testing.T) {
	c, _ := readable(t)
	s, err := c.Status(t.Context())
	if want := transport.NewStatus(transporttest.Up()); err != nil || s.Node != want.Node || s.State != want.State || s.Ready != want.Ready {
		t.Errorf("got %+v, %v; want %+v", s, err, want)
	}
	var out strings.Builder
	if err := c.Logs(t.Context(), 2, false, &out); err != nil || out.String() != "two\nthree\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// A follower gets what is logged while it waits, at once, and ends when it wants to.
func TestFollow(t *testing.T) {
	c, tail := readable(t)
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- c.Logs(ctx, 1, true, w) }()
	lines := bufio.NewScanner(r)
	for _, want := range []string{"three", "four"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %q", lines.Text(), want)
		}
		if want == "three" {
			fmt.Fprintln(tail, "four")
		}
	}
	stop()
	if err := <-ended; err == nil {
		t.Error("no error for who hung up")
	}
}
