package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var watchedPage = regexp.MustCompile(`"page": "(\S+)"`)

// TestWatch serves a run's page until a signal, which is its ordinary end.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "log.jsonl"), []byte(`{"step":1,"loss":0.5}`+"\n"))
	p := start(t, "watch", dir, "--addr", "127.0.0.1:0", "--token", "a token")
	p.await(t, "watching")
	page := watchedPage.FindStringSubmatch(p.stderrSoFar())[1]
	if _, query, _ := strings.Cut(page, "?"); query != "token=a+token" {
		t.Errorf("the page is %s", page)
	}
	in, err := http.NewRequest("GET", page[:strings.Index(page, "?")]+"api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	in.Header.Set("Authorization", "Bearer a token")
	out, err := http.DefaultClient.Do(in)
	if err != nil || out.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", out, err)
	}
	defer out.Body.Close()
	p.Process.Signal(syscall.SIGTERM) // while an event stream is open
	if _, err := io.ReadAll(out.Body); err != nil {
		t.Errorf("the event stream ended by %v", err)
	}
	if status := p.end(); status != exitDone {
		t.Errorf("status %d: %s", status, p.stderrSoFar())
	}
}

func TestWatchPage(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for want, at := range map[string]net.IP{"http://" + name + ":6060/?token=t": net.IPv6unspecified, "http://127.0.0.1:6060/?token=t": net.IPv4(127, 0, 0, 1)} {
		if got := watchPage(&net.TCPAddr{IP: at, Port: 6060}, "t").String(); got != want {
			t.Errorf("%v: the page is %s, not %s", at, got, want)
		}
	}
}

func TestWatchRefuses(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{t.TempDir(), "--addr", "0.0.0.0:0"}, exitUsage, "can be reached from other machines: set --token"},
		{[]string{t.TempDir(), "--addr", ":6060"}, exitUsage, "set --token"},
		{[]string{t.TempDir(), "--addr", "6060"}, exitUsage, "write HOST:PORT"},
		{[]string{filepath.Join(t.TempDir(), "none")}, exitFailed, "there is no run folder"},
		{[]string{t.TempDir(), "--addr", "127.0.0.1:99999"}, exitFailed, "choose another address by --addr"},
		{[]string{"http://host/run"}, exitFailed, "the supported URLs are"},
	} {
		got := iddpmWith(ctx, nil, append([]string{"watch"}, test.args...)...)
		if got.status != test.status || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%v: status %d, %s", test.args, got.status, got.stderr)
		}
	}
}
