package realtest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Chromium is a real browser without a window.
type Chromium struct {
	out *os.File

	mu      sync.Mutex
	id      int
	waiting map[int]chan answer
	tabs    map[string]*Tab // by session
}

type answer struct {
	result json.RawMessage
	err    error
}

// Tab is a page of its own, with the size and the habits of one viewer.
type Tab struct {
	t        testing.TB
	chromium *Chromium
	session  string

	mu       sync.Mutex
	requests []string
	errors   []string
	loaded   chan struct{}
}

// Viewer is who looks at a page.
type Viewer struct {
	Width, Height int
	Phone         bool
	Dark          bool
	NoScript      bool
}

// StartChromium starts a browser, which ends with the test. It is asked over two
// pipes, in the DevTools protocol: no port, and no library for it.
func StartChromium(t testing.TB) *Chromium {
	t.Helper()
	Require(t, "chromium")
	ours, theirsOut := pipe(t)
	theirsIn, out := pipe(t)
	// No sandbox, because containers have no user namespaces and root has no choice:
	// it sees pages of the tests alone.
	dir := t.TempDir()
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--user-data-dir="+dir, "--remote-debugging-pipe", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.ExtraFiles = []*os.File{theirsIn, theirsOut}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	exited := Spawn(t, cmd, filepath.Join(t.TempDir(), "log"))
	_ = theirsIn.Close()
	_ = theirsOut.Close()
	c := &Chromium{out: out, waiting: map[int]chan answer{}, tabs: map[string]*Tab{}}
	read := make(chan struct{})
	go func() {
		defer close(read)
		c.read(ours)
	}()
	t.Cleanup(func() {
		group := -cmd.Process.Pid
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-exited
		// Its helpers write into dir for as long as they live.
		Eventually(t, 10*time.Second, func() error {
			if err := syscall.Kill(group, 0); err == nil {
				return errors.New("processes of chromium are left")
			}
			return nil
		})
		_ = out.Close()
		_ = ours.SetReadDeadline(time.Now()) // a helper process may still hold the other end
		<-read
		_ = ours.Close()
	})
	return c
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// read hands out answers and events until the pipe ends.
func (c *Chromium) read(from *os.File) {
	in := bufio.NewReader(from)
	for {
		message, err := in.ReadBytes(0)
		if err != nil {
			break
		}
		var m struct {
			ID        int
			SessionID string
			Method    string
			Params    json.RawMessage
			Result    json.RawMessage
			Error     *struct{ Message string }
		}
		if json.Unmarshal(message[:len(message)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		waiting, tab := c.waiting[m.ID], c.tabs[m.SessionID]
		delete(c.waiting, m.ID)
		c.mu.Unlock()
		switch {
		case waiting != nil && m.Error != nil:
			waiting <- answer{err: errors.New(m.Error.Message)}
		case waiting != nil:
			waiting <- answer{result: m.Result}
		case tab != nil:
			tab.event(m.Method, m.Params)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.waiting {
		w <- answer{err: errors.New("chromium is gone")}
	}
	c.waiting = nil
}

// call asks for one thing and decodes the result.
func (c *Chromium) call(t testing.TB, session, method string, params, result any) {
	t.Helper()
	w := make(chan answer, 1)
	c.mu.Lock()
	if c.waiting == nil {
		c.mu.Unlock()
		t.Fatalf("chromium is gone before %s", method)
	}
	c.id++
	message := map[string]any{"id": c.id, "method": method, "params": params}
	if session != "" {
		message["sessionId"] = session
	}
	c.waiting[c.id] = w
	data, err := json.Marshal(message)
	if err == nil {
		_, err = c.out.Write(append(data, 0))
	}
	c.mu.Unlock()
	if err != nil {
		t.Fatalf("ask chromium for %s: %v", method, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	select {
	case a := <-w:
		if err = a.err; err == nil && result != nil {
			err = json.Unmarshal(a.result, result)
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		t.Fatalf("chromium: %s: %v", method, err)
	}
}

// Open opens a tab for the viewer and loads the address. It closes with the test.
func (c *Chromium) Open(t testing.TB, v Viewer, url string) *Tab {
	t.Helper()
	var target struct{ TargetID string }
	c.call(t, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	t.Cleanup(func() { c.call(t, "", "Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil) })
	var attached struct{ SessionID string }
	c.call(t, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	tab := &Tab{t: t, chromium: c, session: attached.SessionID, loaded: make(chan struct{}, 1)}
	c.mu.Lock()
	c.tabs[attached.SessionID] = tab
	c.mu.Unlock()
	for _, domain := range []string{"Page", "Network", "Log", "Runtime"} {
		tab.call(domain+".enable", map[string]any{}, nil)
	}
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	tab.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	tab.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": v.Width, "height": v.Height, "deviceScaleFactor": 1, "mobile": v.Phone}, nil)
	tab.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": v.NoScript}, nil)
	tab.call("Page.navigate", map[string]any{"url": url}, nil)
	select {
	case <-tab.loaded:
	case <-time.After(time.Minute):
		t.Fatalf("%s is not loaded within a minute", url)
	}
	return tab
}

func (t *Tab) call(method string, params, result any) {
	t.t.Helper()
	t.chromium.call(t.t, t.session, method, params, result)
}

// event keeps what a test may want to know.
func (t *Tab) event(method string, params json.RawMessage) {
	var p struct {
		Request struct{ URL string }
		Entry   struct{ Level, Text, URL string }
		Details struct {
			Text      string
			Exception struct{ Description string }
		} `json:"exceptionDetails"`
	}
	_ = json.Unmarshal(params, &p)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case method == "Page.loadEventFired":
		select {
		case t.loaded <- struct{}{}:
		default:
		}
	case method == "Network.requestWillBeSent" && !strings.HasPrefix(p.Request.URL, "data:"):
		t.requests = append(t.requests, p.Request.URL)
	case method == "Log.entryAdded" && p.Entry.Level == "error":
		t.errors = append(t.errors, p.Entry.Text+" "+p.Entry.URL)
	case method == "Runtime.exceptionThrown":
		t.errors = append(t.errors, p.Details.Text+" "+p.Details.Exception.Description)
	}
}

// Requests are the addresses that the page has asked for.
func (t *Tab) Requests() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.requests...)
}

// Errors are what the browser complained of, breaches of a content security policy among them.
func (t *Tab) Errors() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.errors...)
}

// Eval evaluates JavaScript (a promise is waited for) and decodes its value.
func (t *Tab) Eval(expression string, result any) {
	t.t.Helper()
	var a struct {
		Result  struct{ Value json.RawMessage }
		Details *struct {
			Text      string
			Exception struct{ Description string }
		} `json:"exceptionDetails"`
	}
	t.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &a)
	if a.Details != nil {
		t.t.Fatalf("%s: %s %s", expression, a.Details.Text, a.Details.Exception.Description)
	}
	if err := json.Unmarshal(a.Result.Value, result); err != nil {
		t.t.Fatalf("%s: %s: %v", expression, a.Result.Value, err)
	}
}

// Text is what is to be read in the element that the selector finds, which works
// without JavaScript too.
func (t *Tab) Text(selector string) string {
	t.t.Helper()
	var text string
	t.Eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector), &text)
	return text
}

// Screenshot is the whole page as PNG.
func (t *Tab) Screenshot() []byte {
	t.t.Helper()
	var layout struct {
		Content struct{ Width, Height float64 } `json:"cssContentSize"`
	}
	t.call("Page.getLayoutMetrics", map[string]any{}, &layout)
	var shot struct{ Data string }
	t.call("Page.captureScreenshot", map[string]any{
		"format": "png", "captureBeyondViewport": true,
		"clip": map[string]any{"x": 0, "y": 0, "width": layout.Content.Width, "height": layout.Content.Height, "scale": 1},
	}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		t.t.Fatal(err)
	}
	return png
}
