package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"iddpm/internal/fakestore"
)

// quick are timeouts for a server in the same process.
var quick = Options{Stall: 10 * time.Second, Patience: time.Minute, Wait: time.Millisecond}

// server is an S3 server with an injectable network fault.
type server struct {
	*httptest.Server
	behind *fakestore.Servers
	mu     sync.Mutex
	fault  func(r *http.Request) fault // nil: none
	met    int                         // number of faults
}

// fault is a failure mode of a request.
type fault int

const (
	none     fault = iota
	drop           // the connection breaks before a response
	refuse         // status 500
	deny           // status 403
	truncate       // the response, or the request body, loses its second half
	stall          // no response
)

func newServer(t *testing.T, behind *fakestore.Servers) *server {
	t.Helper()
	s := &server{behind: behind}
	real := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: behind.S3})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(real, w, r) }))
	t.Cleanup(s.Close)
	return s
}

// url returns the URL of a path in the server's only bucket.
func (s *server) url(path string) string { return fakestore.URLAt(s.URL, path) }

// fail makes requests fail from now on.
func (s *server) fail(f func(r *http.Request) fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.met = f, 0
}

// failed returns how many requests have failed since.
func (s *server) failed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.met
}

func (s *server) next(r *http.Request) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		return none
	}
	f := s.fault(r)
	if f != none {
		s.met++
	}
	return f
}

func (s *server) serve(real http.Handler, w http.ResponseWriter, r *http.Request) {
	switch s.next(r) {
	case none:
		real.ServeHTTP(w, r)
	case refuse:
		http.Error(w, "<Error><Code>InternalError</Code></Error>", http.StatusInternalServerError)
	case deny:
		http.Error(w, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>", http.StatusForbidden)
	case stall:
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	case truncate:
		s.truncate(real, w, r)
	case drop:
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	}
}

// truncate responds with success.
func (s *server) truncate(real http.Handler, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	real.ServeHTTP(answer, r)
	if r.Method == http.MethodPut {
		s.halve(strings.TrimPrefix(r.URL.Path, "/bucket/"), false)
	}
	for key, values := range answer.Header() {
		w.Header()[key] = values
	}
	if r.Method == http.MethodGet {
		w.Header().Set("Content-Length", fmt.Sprint(answer.Body.Len()))
	}
	w.WriteHeader(answer.Code)
	body := answer.Body.Bytes()
	w.Write(body[:len(body)/2])
}

// halve truncates an object. Its checksum is either that of the half or still that of the whole.
func (s *server) halve(key string, keepChecksum bool) {
	if err := s.behind.Halve(key, keepChecksum); err != nil {
		panic(err)
	}
}

// first returns a fault of the first n requests of a method ("": any).
func first(n int, method string, f fault) func(*http.Request) fault {
	return func(r *http.Request) fault {
		if n == 0 || method != "" && r.Method != method {
			return none
		}
		n--
		return f
	}
}

func open(t *testing.T, at string, o Options) *Folder {
	t.Helper()
	l, err := Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(context.Background(), l, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// noise returns n bytes that do not repeat.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func names(objects []Object) (all []string) {
	for _, o := range objects {
		all = append(all, o.Name)
	}
	return all
}

// places are new folders of all kinds.
func places(t *testing.T) map[string]string {
	servers := fakestore.Start(t)
	t.Setenv("STORAGE_EMULATOR_HOST", servers.GCS)
	return map[string]string{
		"s3":   newServer(t, servers).url("runs/one"),
		"gs":   "gs://bucket/runs/one?anonymous=true",
		"file": "file://" + filepath.Join(t.TempDir(), "runs", "one"),
	}
}

// Files of all sizes round-trip, in all kinds of folders.
func TestFolder(t *testing.T) {
	ctx := context.Background()
	for kind, at := range places(t) {
		t.Run(kind, func(t *testing.T) {
			f, dir := open(t, at, quick), t.TempDir()
			if all, err := f.List(ctx, ""); err != nil || len(all) != 0 {
				t.Fatalf("an empty folder holds %v, %v", all, err)
			}
			if _, err := f.Stat(ctx, "config.json"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "one/config.json") {
				t.Errorf("a missing file: %v", err)
			}
			if err := f.Fetch(ctx, "config.json", filepath.Join(dir, "x")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a missing file: %v", err)
			}
			contents := map[string][]byte{"config.json": []byte("{}"), "empty": nil, "checkpoints/ckpt 1+ä.pt": noise(100_000), "samples/step/x": noise(1)}
			for name, content := range contents {
				if err := f.Put(ctx, name, write(t, filepath.Join(dir, "out"), content)); err != nil {
					t.Fatal(err)
				}
				back := filepath.Join(dir, "back", name)
				if err := f.Fetch(ctx, name, back); err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s came back as %d bytes, %v", name, len(got), err)
				}
				if o, err := f.Stat(ctx, name); err != nil || o.Size != int64(len(content)) {
					t.Errorf("%s: %+v, %v", name, o, err)
				}
			}
			all, err := f.List(ctx, "")
			want := []string{"checkpoints/ckpt 1+ä.pt", "config.json", "empty", "samples/step/x"}
			if err != nil || !slices.Equal(names(all), want) {
				t.Errorf("listed %q, want %q, %v", names(all), want, err)
			}
			if some, err := f.List(ctx, "checkpoints/"); err != nil || !slices.Equal(names(some), want[:1]) {
				t.Errorf("listed %q, %v", names(some), err)
			}
			for range 2 {
				if err := f.Remove(ctx, "empty"); err != nil {
					t.Error(err)
				}
			}
			if _, err := f.Stat(ctx, "empty"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a removed file: %v", err)
			}
		})
	}
}

// Uploads and downloads survive faults of some requests.
func TestFaults(t *testing.T) {
	ctx, s := context.Background(), newServer(t, fakestore.Start(t))
	small, large := noise(10_000), noise(2*partSize+1) // the latter in parts
	impatient := quick
	impatient.Stall = 200 * time.Millisecond
	for _, test := range []struct {
		name    string
		options Options
		content []byte
		fault   func(*http.Request) fault
		failing int // requests that fail; 0: some
	}{
		{"drops", quick, small, first(5, "", drop), 5},
		{"status 500", quick, small, first(7, "", refuse), 7},
		{"stalls", impatient, small, first(2, "", stall), 2},
		{"half of an upload", quick, small, first(2, http.MethodPut, truncate), 2},
		{"half of a download", quick, small, first(2, http.MethodGet, truncate), 2},
		{"in parts", quick, large, first(4, http.MethodPut, refuse), 4},
		{"each third", quick, small, func() func(*http.Request) fault {
			n := 0
			return func(*http.Request) fault { n++; return []fault{none, none, drop, none, none, refuse}[n%6] }
		}(), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, dir := open(t, s.url("faults"), test.options), t.TempDir()
			s.fail(test.fault)
			if err := f.Put(ctx, test.name, write(t, filepath.Join(dir, "out"), test.content)); err != nil {
				t.Fatal(err)
			}
			if err := f.Fetch(ctx, test.name, filepath.Join(dir, "back")); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "back")); err != nil || !bytes.Equal(got, test.content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if n := s.failed(); n == 0 || test.failing > 0 && n != test.failing {
				t.Errorf("%d requests failed, want %d", n, test.failing)
			}
		})
	}
}

// A permanent failure, or one that lasts too long, is an error that names the URL.
func TestHopeless(t *testing.T) {
	ctx, s := context.Background(), newServer(t, fakestore.Start(t))
	path := write(t, filepath.Join(t.TempDir(), "file"), noise(100))
	short := quick
	short.Patience = 50 * time.Millisecond
	attempts := 0
	short.Failed = func(error, time.Duration) { attempts++ }
	f := open(t, s.url("hopeless"), short)
	s.fail(first(1000, "", deny))
	if err := f.Put(ctx, "file", path); err == nil || !strings.Contains(err.Error(), "hopeless/file") || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("denied: %v", err)
	}
	if attempts != 0 {
		t.Errorf("%d more attempts after a refusal", attempts)
	}
	s.fail(first(1000, "", drop))
	if err := f.Put(ctx, "file", path); err == nil || s.failed() < 2 {
		t.Errorf("no server: %v after %d failed requests", err, s.failed())
	}
	s.fail(nil)
	elsewhere := open(t, strings.Replace(s.url("x"), "bucket", "nowhere", 1), quick)
	if err := elsewhere.Put(ctx, "file", path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no such bucket") {
		t.Errorf("no bucket: %v", err)
	}
	if err := f.Put(ctx, "file", filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no local file: %v", err)
	}
}

// A file that was truncated on the server is not stored under its name. A file that
// exists locally is not downloaded again.
func TestFetchDamaged(t *testing.T) {
	ctx, s := context.Background(), newServer(t, fakestore.Start(t))
	f, dir := open(t, s.url("damaged"), quick), t.TempDir()
	content := noise(1000)
	if err := f.Put(ctx, "file", write(t, filepath.Join(dir, "out"), content)); err != nil {
		t.Fatal(err)
	}
	back := filepath.Join(dir, "back")
	for range 2 {
		if err := f.Fetch(ctx, "file", back); err != nil {
			t.Fatal(err)
		}
		s.fail(func(r *http.Request) fault {
			if r.Method == http.MethodGet {
				return deny
			}
			return none
		})
	}
	s.fail(nil)
	for _, keeps := range []bool{true, false} { // whether the server keeps the whole's checksum
		s.halve("damaged/file", keeps)
		if err := f.Fetch(ctx, "file", back); !errors.Is(err, ErrDamaged) {
			t.Errorf("half a file: %v", err)
		}
	}
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the copy has become %d bytes, %v", len(got), err)
	}
	if all, _ := os.ReadDir(dir); len(all) != 2 {
		t.Errorf("left behind: %v", all)
	}
}

// Missing regions and credentials are reported at once.
func TestOpenRefuses(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "STORAGE_EMULATOR_HOST"} {
		t.Setenv(name, "")
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"} {
		t.Setenv(name, filepath.Join(t.TempDir(), "none"))
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for at, want := range map[string]string{
		"s3://bucket/run":                  "set AWS_REGION",
		"s3://bucket/run?region=eu":        "no credentials for S3: set AWS_PROFILE",
		"s3://bucket/run?regoin=eu":        "regoin",
		"gs://bucket/run":                  "no credentials for Google Cloud",
		"gs://bucket/run?anonymouse=1&a=b": "",
	} {
		l, err := Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(context.Background(), l, quick)
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bucket/run") {
			t.Errorf("%s: error %v, want %q", at, err, want)
		}
	}
	l, err := Parse("s3://bucket/run?region=eu&anonymous=true")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(context.Background(), l, quick)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestMultipartTag(t *testing.T) {
	// md5(md5(8 MiB of zeros) + md5(8 MiB of zeros) + md5(one zero)), by Python.
	const want = "a067ca1673f93d2ddca7a249189c4dd4-3"
	if got, err := multipartTag(bytes.NewReader(make([]byte, 2*partSize+1))); err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct{ text, want, copy string }{
		{"s3://bucket/runs/one/", "s3://bucket/runs/one", "s3/bucket/runs/one"},
		{"s3://bucket/run?region=eu-north-1", "s3://bucket/run?region=eu-north-1", "s3/bucket/run"},
		{"s3://bucket/run?endpoint=http://host:9000", "s3://bucket/run?endpoint=http://host:9000", "s3/bucket@c0bc0036/run"},
		{"gs://bucket/a/../b//c", "gs://bucket/b/c", "gs/bucket/b/c"},
		{"gs://bucket/../../etc", "gs://bucket/etc", "gs/bucket/etc"},
		{"file:///mnt/run", "file:///mnt/run", "file/mnt/run"},
		{"s3://bucket", "names no folder", ""},
		{"s3:///run", "names no bucket", ""},
		{"s3://key:secret@bucket/run", "credentials do not belong", ""},
		{"file://mnt/run", "three slashes", ""},
		{"file:///run?x=1", "no options", ""},
		{"http://host/run", "the supported URLs are", ""},
		{"http://key:secret@host/run", "credentials do not belong", ""},
		{"file:/mnt/run", "the supported URLs are", ""},
		{"s3:/bucket/run", "the supported URLs are", ""},
		{"gs://bucket/run#1", "a fragment (#...)", ""},
		{"s3://buck et/run", "is not a URL", ""},
	} {
		l, err := Parse(test.text)
		if test.copy == "" {
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: error %v, want %q", test.text, err, test.want)
			}
			continue
		}
		if err != nil || l.String() != test.want || l.Copy("/cache") != "/cache/"+test.copy {
			t.Errorf("%s: %s, %s, %v", test.text, l, l.Copy("/cache"), err)
		}
	}
	for text, want := range map[string]bool{"s3://b/x": true, "gs://b": true, "file:///x": true, "runs/001": false, "http://x/y": true, "ftp://x": true, "file:/x": true, "s3:/b": true, "S3://b": true, "a=s3://b": false, "a:/b": false, "photos/a://b": false} {
		if IsURL(text) != want {
			t.Errorf("%s is a URL: %t", text, !want)
		}
	}
}
