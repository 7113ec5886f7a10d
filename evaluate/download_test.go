package evaluate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDownload checks that a download is atomic.
func TestDownload(t *testing.T) {
	const text, sum = "weights", "9a129038" // of sha256
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/whole", "/other":
			fmt.Fprint(w, text)
		case "/short":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, text)
		case "/stalled":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, text)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for name, want := range map[string]string{"/whole": "", "/other": "which should begin with 00", "/short": "unexpected EOF", "/none": "404 Not Found", "/stalled": "no data received for 500ms"} {
		d := download{server.URL + name, sum, 0}
		if name == "/stalled" {
			d.patience = 500 * time.Millisecond
		}
		if name == "/other" {
			d.sum = "00"
		}
		dir := filepath.Join(t.TempDir(), "cache")
		var done int64
		err := d.fetch(context.Background(), filepath.Join(dir, "file"), func(n, of int64) { done = n })
		left, _ := os.ReadDir(dir)
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || len(left) > 0):
			t.Errorf("%s: %v, and left %v", name, err, left)
		case want == "" && (err != nil || len(left) != 1 || done != int64(len(text)) || readText(filepath.Join(dir, "file")) != text):
			t.Errorf("%s: %v, and left %v", name, err, left)
		}
	}
}

func readText(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}
