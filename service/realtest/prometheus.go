package realtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Prometheus is a real Prometheus with an empty database.
type Prometheus struct {
	URL string // of its web interface, without a slash at the end

	client http.Client
}

// Sample is one series of the answer to a query.
type Sample struct {
	Labels map[string]string // __name__ among them
	Value  float64
}

// StartPrometheus starts a Prometheus with the given configuration file and
// returns once it is ready. It ends with the test.
func StartPrometheus(t testing.TB, config string) *Prometheus {
	t.Helper()
	Require(t, "prometheus")
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ip := Loopback(t)
	addr := net.JoinHostPort(ip, strconv.Itoa(FreePort(t, ip)))
	cmd := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn")
	log := filepath.Join(dir, "log")
	exited := Spawn(t, cmd, log)
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its database is thrown away
		<-exited
	})
	p := &Prometheus{
		URL: "http://" + addr,
		// A connection that is kept would look like a leaked goroutine.
		client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second},
	}
	Eventually(t, 30*time.Second, func() error {
		select {
		case <-exited:
			out, _ := os.ReadFile(log)
			t.Fatalf("prometheus ended at once: %v\n%s", cmd.ProcessState, out)
		default:
		}
		answer, err := p.client.Get(p.URL + "/-/ready")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s/-/ready says %s", p.URL, answer.Status)
		}
		return nil
	})
	return p
}

// Labels lists the names of the labels that series matched by a selector have.
func (p *Prometheus) Labels(t testing.TB, selector string) []string {
	t.Helper()
	var answer struct{ Data []string }
	p.get(t, "/api/v1/labels?"+url.Values{"match[]": {selector}}.Encode(), &answer)
	return answer.Data
}

// Query returns what an expression that yields an instant vector is now.
func (p *Prometheus) Query(t testing.TB, promql string) []Sample {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any // Unix time, and the value as a string: JSON has no NaN
			}
		}
	}
	p.get(t, "/api/v1/query?"+url.Values{"query": {promql}}.Encode(), &answer)
	var samples []Sample
	for _, r := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			t.Fatalf("query %s: %v", promql, err)
		}
		samples = append(samples, Sample{r.Metric, value})
	}
	return samples
}

// get decodes the answer of the HTTP API to a path, which has to be a success.
func (p *Prometheus) get(t testing.TB, path string, answer any) {
	t.Helper()
	response, err := p.client.Get(p.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(body, answer)
	}
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, response.Status, body, err)
	}
}
