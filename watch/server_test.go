package watch

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func serve(t *testing.T, w *Watcher, token string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(w.Handler(token))
	t.Cleanup(s.Close)
	return s
}

// get requests a path as it stands, by a Host header unless that is empty.
func get(t *testing.T, s *httptest.Server, path, host string, header ...string) (status int, body string, h http.Header) {
	t.Helper()
	in, err := http.NewRequest("GET", s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	in.URL.Opaque = path // not cleaned
	if host != "" {
		in.Host = host
	}
	for i := 0; i < len(header); i += 2 {
		in.Header.Set(header[i], header[i+1])
	}
	out, err := http.DefaultTransport.RoundTrip(in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	text, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return out.StatusCode, string(text), out.Header
}

func TestPage(t *testing.T) {
	s := serve(t, watching(t, madeUpRun(t, 3)), "")
	for path, want := range map[string]string{"/": "iddpm watch", "/app.js": "EventSource", "/style.css": "--back", "/uPlot.iife.min.js": "uPlot", "/uPlot.min.css": ".uplot"} {
		status, body, h := get(t, s, path, "")
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", path, status, want)
		}
		if got := h.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'") || strings.Contains(got, "unsafe") {
			t.Errorf("%s: the policy is %q", path, got)
		}
	}
}

func TestAPI(t *testing.T) {
	dir := madeUpRun(t, 3)
	writeFile(t, filepath.Join(dir, "samples/step-000003.png"), "a grid")
	w := watching(t, dir)
	await(t, w, "the rows", func(all []Status) bool { return all[0].Step == 3 && len(all[0].Grids) == 1 })
	s := serve(t, w, "")
	var runs struct{ Runs []Status }
	if _, body, _ := get(t, s, "/api/runs", ""); json.Unmarshal([]byte(body), &runs) != nil || len(runs.Runs) != 1 || runs.Runs[0].Step != 3 {
		t.Errorf("%s", body)
	}
	if _, body, _ := get(t, s, "/api/runs/0/curves?metric=loss&points=5", ""); strings.TrimSpace(body) != `{"loss":{"steps":[1,2,3],"values":[1,0.5,0.3333333333333333]}}` {
		t.Errorf("%s", body)
	}
	if status, body, _ := get(t, s, "/api/runs/0/grids/samples/step-000003.png", ""); status != http.StatusOK || body != "a grid" {
		t.Errorf("%d %s", status, body)
	}
	for _, path := range []string{"/api/runs/1/curves", "/api/runs/0/grids/samples/step-000004.png", "/api/runs/0/grids/config.json"} {
		if status, _, _ := get(t, s, path, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

// Nothing outside the runs is served: no path with dots, no symbolic link that leads out.
func TestServesNothingElse(t *testing.T) {
	dir := madeUpRun(t, 1)
	outside := filepath.Join(t.TempDir(), "step-000001.png")
	writeFile(t, outside, "a secret")
	writeFile(t, filepath.Join(dir, "samples/step-000002.png"), "a grid")
	if err := os.Symlink(outside, filepath.Join(dir, "samples/step-000001.png")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "samples/step-000007")); err != nil {
		t.Fatal(err)
	}
	w := watching(t, dir)
	all := await(t, w, "the grid", func(all []Status) bool { return len(all[0].Grids) > 0 })
	if len(all[0].Grids) != 1 {
		t.Errorf("grids %v", all[0].Grids)
	}
	if _, err := w.runs[0].source.read(t.Context(), "samples/step-000001.png", 0, 10); err == nil {
		t.Error("a symbolic link out of the run was read")
	}
	s := serve(t, w, "")
	for _, path := range []string{
		"/api/runs/0/grids/samples/step-000001.png", "/api/runs/0/grids/samples/step-000007/step-000001.png",
		"/api/runs/0/grids/../config.json", "/api/runs/0/grids/..%2fconfig.json", "/api/runs/0/grids/%2e%2e/%2e%2e/etc/passwd", "/api/runs/0/grids//etc/passwd",
		"/../server.go", "/..%2fserver.go", "/page/",
	} {
		if status, body, _ := get(t, s, path, ""); status == http.StatusOK || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestHostHeader(t *testing.T) {
	s := serve(t, watching(t, madeUpRun(t, 1)), "")
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:8000": 200, "127.0.0.1:1": 200, "[::1]:80": 200,
		"attacker.example": 421, "attacker.example:8000": 421, "127.0.0.1.attacker.example": 421, "10.0.0.1": 421, "localhost.attacker.example": 421,
	} {
		if status, _, _ := get(t, s, "/api/runs", host); status != want {
			t.Errorf("Host %s: %d, want %d", host, status, want)
		}
	}
}

func TestToken(t *testing.T) {
	s := serve(t, watching(t, madeUpRun(t, 1)), "a token")
	for _, test := range []struct {
		name, path string
		header     []string
		want       int
	}{
		{"none", "/api/runs", nil, 401},
		{"wrong query", "/?token=no", nil, 401},
		{"empty query", "/?token=", nil, 401},
		{"wrong bearer", "/api/runs", []string{"Authorization", "Bearer no"}, 401},
		{"bearer", "/api/runs", []string{"Authorization", "Bearer a token"}, 200},
		{"query", "/?token=a+token", nil, 303},
		{"query of another path", "//attacker.example?token=a+token", nil, 303},
	} {
		status, _, h := get(t, s, test.path, "runs.example", test.header...)
		if status != test.want || status == 303 && h.Get("Location") != "/" {
			t.Errorf("%s: %d to %q, want %d", test.name, status, h.Get("Location"), test.want)
		}
	}
}

// A cookie cannot hold every character of a token.
func TestTokenInACookie(t *testing.T) {
	for _, token := range []string{"plain", "a token", `"quoted; \ token"`, "Schlüssel"} {
		s := serve(t, watching(t, madeUpRun(t, 1)), token)
		jar, _ := cookiejar.New(nil)
		browser := &http.Client{Jar: jar}
		for _, path := range []string{"/?token=" + url.QueryEscape(token), "/api/runs"} {
			out, err := browser.Get(s.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			if out.Body.Close(); out.StatusCode != http.StatusOK {
				t.Errorf("%s, token %q: %s", path, token, out.Status)
			}
		}
	}
}

func TestEvents(t *testing.T) {
	dir := madeUpRun(t, 1)
	w := watching(t, dir)
	await(t, w, "the row", atStep(1))
	s := serve(t, w, "")
	out, err := http.Get(s.URL + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	lines := bufio.NewScanner(out.Body)
	event := func() string {
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				return id
			}
		}
		t.Fatal("the stream ended")
		return ""
	}
	first := event()
	appendTo(t, filepath.Join(dir, "log.jsonl"), `{"step":2}`+"\n")
	if second := event(); second == first {
		t.Errorf("two events are %s", first)
	}
}
