package storage

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iddpm/internal/fakestore"

	"go.uber.org/goleak"
)

// watched is a mirror whose events a test waits for.
type watched struct {
	*Mirror
	sent, removed chan string
	failures      chan error
}

func mirror(t *testing.T, at, dir string, o MirrorOptions) *watched {
	t.Helper()
	w := &watched{sent: make(chan string, 1000), removed: make(chan string, 1000), failures: make(chan error, 1000)}
	options := quick
	options.Stall = time.Second
	options.Failed = func(err error, _ time.Duration) {
		select {
		case w.failures <- err:
		default:
		}
	}
	o.Look, o.Grow = time.Millisecond, time.Millisecond
	o.Sent = func(name string, _ int64, _ time.Duration) { w.sent <- name }
	o.Removed = func(name string) { w.removed <- name }
	w.Mirror = open(t, at, options).Mirror(dir, o)
	return w
}

// await returns the next n events.
func await(t *testing.T, c <-chan string, n int) (all []string) {
	t.Helper()
	for range n {
		select {
		case name := <-c:
			all = append(all, name)
		case <-time.After(time.Minute):
			t.Fatalf("no event after %q", all)
		}
	}
	slices.Sort(all)
	return all
}

func (w *watched) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
}

// rename gives a file its final name, like all files in a run folder.
func rename(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	half := write(t, filepath.Join(dir, filepath.Dir(name), "."+filepath.Base(name)+"123"), content)
	if err := os.Rename(half, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestMirror(t *testing.T) {
	ctx, s, dir := context.Background(), newServer(t, fakestore.Start(t)), t.TempDir()
	rename(t, dir, "config.json", []byte("{}"))
	rename(t, dir, "run.lock", nil)
	write(t, filepath.Join(dir, "checkpoints", ".ckpt-000001.pt42"), noise(10))
	m := mirror(t, s.url("run"), dir, MirrorOptions{Ignore: []string{"run.lock"}})
	await(t, m.sent, 1)
	rename(t, dir, "checkpoints/ckpt-000001.pt", noise(1000))
	await(t, m.sent, 1)
	log, err := os.Create(filepath.Join(dir, "log.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the mirror may upload each state or only the last
		if _, err := log.WriteString("{\"step\":1}\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(log.Close(), os.Remove(filepath.Join(dir, "checkpoints/ckpt-000001.pt"))); err != nil {
		t.Fatal(err)
	}
	m.close(t)
	f := open(t, s.url("run"), quick)
	all, err := f.List(ctx, "")
	if want := []string{"checkpoints/ckpt-000001.pt", "config.json", "log.jsonl"}; err != nil || !slices.Equal(names(all), want) {
		t.Errorf("there are %q, want %q, %v", names(all), want, err)
	}
	if err := f.Fetch(ctx, "log.jsonl", filepath.Join(dir, "back")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "back")); string(got) != strings.Repeat("{\"step\":1}\n", 3) {
		t.Errorf("the log there is %q", got)
	}
}

// A second process uploads only new files.
func TestMirrorResumes(t *testing.T) {
	s, dir := newServer(t, fakestore.Start(t)), t.TempDir()
	rename(t, dir, "a", noise(100))
	rename(t, dir, "b", noise(100_000))
	rename(t, dir, "c", noise(100))
	m := mirror(t, s.url("run"), dir, MirrorOptions{})
	await(t, m.sent, 3)
	m.close(t)
	rename(t, dir, "c", noise(101))
	rename(t, dir, "d", noise(1))
	m = mirror(t, s.url("run"), dir, MirrorOptions{})
	m.close(t)
	if got := await(t, m.sent, len(m.sent)); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("sent %q again", got)
	}
}

// The network fails while checkpoints are written; in the end all are uploaded intact.
func TestMirrorThroughFaults(t *testing.T) {
	ctx, s, dir := context.Background(), newServer(t, fakestore.Start(t)), t.TempDir()
	n := 0
	s.fail(func(r *http.Request) fault {
		n++
		return []fault{drop, refuse, none, none, truncate, none, none, none}[n%8]
	})
	m := mirror(t, s.url("run"), dir, MirrorOptions{})
	want := map[string][]byte{}
	for _, name := range []string{"config.json", "checkpoints/ckpt-000001.pt", "checkpoints/ckpt-000002.pt", "checkpoints/ckpt-000003.pt"} {
		want[name] = append([]byte(name), noise(5000)...)
		rename(t, dir, name, want[name])
	}
	await(t, m.sent, len(want))
	m.close(t)
	if s.failed() < 5 {
		t.Errorf("only %d requests have failed", s.failed())
	}
	s.fail(nil)
	f := open(t, s.url("run"), quick)
	for name, content := range want {
		back := filepath.Join(t.TempDir(), "back")
		if err := f.Fetch(ctx, name, back); err != nil {
			t.Error(err)
			continue
		}
		if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// An old remote file is removed only after its successor has been uploaded intact, even
// if the local file is gone already.
func TestMirrorPrunes(t *testing.T) {
	ctx, s, dir := context.Background(), newServer(t, fakestore.Start(t)), t.TempDir()
	m := mirror(t, s.url("run"), dir, MirrorOptions{Replaced: func(there, sent []string) (old []string) {
		for _, name := range there {
			if name != sent[0] && name != "config.json" {
				old = append(old, name)
			}
		}
		return old
	}})
	f := open(t, s.url("run"), quick)
	rename(t, dir, "1", noise(100))
	await(t, m.sent, 1)
	s.fail(func(r *http.Request) fault { // the second is truncated
		if r.Method == http.MethodPut {
			return truncate
		}
		return none
	})
	rename(t, dir, "2", noise(200))
	if err := os.Remove(filepath.Join(dir, "1")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-m.failures; !strings.Contains(err.Error(), "/2") {
			t.Errorf("another failure: %v", err)
		}
	}
	if _, err := f.Stat(ctx, "1"); err != nil {
		t.Errorf("it was removed before its successor was uploaded: %v", err)
	}
	s.fail(nil)
	if got := await(t, m.removed, 1); got[0] != "1" {
		t.Errorf("removed %q", got)
	}
	m.close(t)
	if all, err := f.List(ctx, ""); err != nil || !slices.Equal(names(all), []string{"2"}) {
		t.Errorf("there are %q, %v", names(all), err)
	}
}

// Close returns when its context ends, and names the missing files.
func TestMirrorClosesInTime(t *testing.T) {
	for name, f := range map[string]fault{"no server": drop, "stalled": stall} {
		t.Run(name, func(t *testing.T) {
			s, dir := newServer(t, fakestore.Start(t)), t.TempDir()
			rename(t, dir, "config.json", nil)
			m := mirror(t, s.url("run"), dir, MirrorOptions{})
			await(t, m.sent, 1)
			s.fail(first(1_000_000, "", f))
			rename(t, dir, "checkpoints/ckpt-000001.pt", noise(10))
			<-m.failures
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			err := m.Close(ctx)
			var left *Left
			if !errors.As(err, &left) || !slices.Equal(left.Names, []string{"checkpoints/ckpt-000001.pt"}) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("go.opencensus.io/stats/view.(*worker).start"), // the fake GCS server's
	)
}
