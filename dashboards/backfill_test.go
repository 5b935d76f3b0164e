package dashboards

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// recorded are the series that the rules would have recorded, by hand, because a
// Prometheus evaluates rules for the present only.
func (h history) recorded() []series {
	const region = `job="turnwarden"`
	all := []series{
		{"region:turnwarden_used_bytes_per_second:sum_avg5m", region, func(hour int) float64 { return h.load[hour] }},
		{"region:turnwarden_utilisation:ratio_avg5m", region, func(hour int) float64 { return h.load[hour] / h.total }},
		{"region:turnwarden_used_bytes_per_second:max1d", region, func(hour int) float64 { return h.peak(1, hour) }},
		{"region:turnwarden_used_bytes_per_second:max7d", region, func(hour int) float64 { return h.peak(7, hour) }},
		{"region:turnwarden_capacity_bytes_per_second:sum", region, constant(h.total)},
		{"region:turnwarden_capacity_bytes_per_second:sum_minus_max", region, constant(h.total / 2)},
		{"region:turnwarden_until_80_percent_seconds:deriv14d", region, constant(h.until80())},
	}
	for node, capacity := range h.capacity {
		labels := fmt.Sprintf(`job="turnwarden",instance="n%d"`, node)
		all = append(all,
			series{"instance:turnwarden_serving_capacity_bytes_per_second:max10m", labels, constant(capacity)},
			series{"instance:turnwarden_used_bytes_per_second:avg5m", labels, func(hour int) float64 { return h.used(node, hour) }})
	}
	for slot := range 7 * 24 {
		all = append(all, series{"region_hour:turnwarden_utilisation:ratio_avg5m", region + "," + h.hourOfWeek(slot), func(hour int) float64 {
			if hour%(7*24) != slot {
				return math.NaN()
			}
			return h.load[hour] / h.total
		}})
	}
	return all
}

// TestBackfilledHistory asks the same of a real Prometheus whose database was
// filled with the past.
func TestBackfilledHistory(t *testing.T) {
	realtest.Require(t, "promtool", "prometheus")
	end := time.Now().Truncate(time.Hour)
	h := newHistory(end.Add(-last * time.Hour))
	dir := t.TempDir()
	past := filepath.Join(dir, "past.txt")
	file, err := os.Create(past)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(h.raw(), h.recorded()...) {
		for hour := range hours {
			if v := s.value(hour); !math.IsNaN(v) {
				fmt.Fprintf(file, "%s{%s} %.17g %d\n", s.name, s.labels, v, h.start.Unix()+int64(hour)*3600)
			}
		}
	}
	fmt.Fprintln(file, "# EOF")
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	promtool(t, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h", past, data)

	address := startPrometheus(t, dir, data)
	realtest.Eventually(t, time.Minute, func() error { return get(address+"/-/ready", nil) })
	for _, query := range h.checks(t) {
		var answer struct {
			Data struct{ Result []struct{ Value [2]any } }
		}
		at := strconv.FormatInt(end.Unix(), 10)
		err := get(address+"/api/v1/query?"+url.Values{"query": {query}, "time": {at}}.Encode(), &answer)
		if r := answer.Data.Result; err != nil || len(r) != 1 || r[0].Value[1] != "1" {
			t.Errorf("%s: %v, %v", query, r, err)
		}
	}
}

// get fetches a document and, if there is somewhere to put it, decodes it.
func get(url string, to any) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	if to == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(to)
}

// startPrometheus starts one on a database that is there.
func startPrometheus(t *testing.T, dir, data string) string {
	t.Helper()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ip := realtest.Loopback(t)
	address := net.JoinHostPort(ip, strconv.Itoa(realtest.FreePort(t, ip)))
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+data, "--storage.tsdb.retention.time=90d", "--web.listen-address="+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // whose end, and not the process', Pdeathsig waits for (golang/go#27505)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		runtime.UnlockOSThread()
	})
	return "http://" + address
}
