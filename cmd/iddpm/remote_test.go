package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"iddpm/internal/fakestore"
)

// bucketServer is an S3 server with one bucket, which can refuse requests.
type bucketServer struct {
	*httptest.Server
	*fakestore.Servers
	refuse  atomic.Pointer[func(*http.Request) bool]
	serving sync.RWMutex // held for reading by each request
}

func newBucketServer(t *testing.T) *bucketServer {
	t.Helper()
	s := &bucketServer{Servers: fakestore.Start(t)}
	real := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.S3})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serving.RLock()
		defer s.serving.RUnlock()
		if refuse := s.refuse.Load(); refuse != nil && (*refuse)(r) {
			http.Error(w, "", http.StatusServiceUnavailable)
			return
		}
		real.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// settle waits for the requests of a dead client: the server still stores them.
func (s *bucketServer) settle() {
	s.serving.Lock()
	defer s.serving.Unlock()
}

func (s *bucketServer) url(path string) string { return fakestore.URLAt(s.URL, path) }

// names returns the objects below a path, without TensorBoard's, whose names contain the
// time.
func (s *bucketServer) names(t *testing.T, path string) (all []string) {
	t.Helper()
	for _, key := range s.List(t, path+"/") {
		if name := strings.TrimPrefix(key, path+"/"); !strings.HasPrefix(name, "events.") {
			all = append(all, name)
		}
	}
	return all
}

// done runs a command that succeeds.
func done(t *testing.T, args ...string) outcome {
	t.Helper()
	got := iddpm(t, args...)
	if got.status != exitDone {
		t.Fatalf("%v: status %d, %s", args, got.status, got.stderr)
	}
	return got
}

// TestRemoteRun resumes a run at a URL on another machine, to the bits of an uninterrupted
// one, and reads it there with every command.
func TestRemoteRun(t *testing.T) {
	s, home, away, alone := newBucketServer(t), t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "run")
	run := s.url("runs/one")
	flags := []string{"--save-interval", "2", "--log-interval", "1", "--keep", "1", "--learn-sigma"}
	got := done(t, append(trainTiny(run, flags...), "--steps", "4", "--remote-cache", home)...)
	if !strings.Contains(got.stdout, "resume      iddpm resume '"+run+"'") {
		t.Errorf("the summary does not say how to resume: %s", got.stdout)
	}
	want := []string{"checkpoints/ckpt-000004.pt", "config.json", "log.jsonl", "progress.csv"}
	if there := s.names(t, "runs/one"); !slices.Equal(there, want) {
		t.Fatalf("there are %q, want %q", there, want)
	}
	again := iddpm(t, append(trainTiny(run, flags...), "--remote-cache", away)...)
	if again.status != exitFailed || !strings.Contains(again.lastLine(), "already holds a run") {
		t.Errorf("a second run: %d, %s", again.status, again.stderr)
	}

	done(t, "resume", run, "--steps", "6", "--device", "cpu", "--remote-cache", away)
	done(t, append(trainTiny(alone, flags...), "--steps", "6")...)
	sameWeights(t, alone, filepath.Join(copyOf(t, away), "checkpoints"))
	want[0] = "checkpoints/ckpt-000006.pt"
	if there := s.names(t, "runs/one"); !slices.Equal(there, want) {
		t.Errorf("there are %q, want %q", there, want)
	}
	if n := bytes.Count(s.Get(t, "runs/one/log.jsonl"), []byte("\n")); n != 6 {
		t.Errorf("the log has %d lines, want 6", n)
	}
	testRemoteReaders(t, s, run)

	// The first machine returns, and uses the newer checkpoint.
	got = done(t, append(trainTiny(run, flags...), "--steps", "7", "--auto-resume", "--remote-cache", home)...)
	if !strings.Contains(got.stderr, "ckpt-000007.pt") || strings.Contains(got.stderr, "ckpt-000005.pt") {
		t.Errorf("it went on elsewhere: %s", got.stderr)
	}
}

// copyOf returns the folder below a cache that holds a run.
func copyOf(t *testing.T, cache string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(cache, "s3", "bucket@*", "runs", "one"))
	if err != nil || len(found) != 1 {
		t.Fatalf("copies %v, %v", found, err)
	}
	return found[0]
}

// command is a command line with flags in front.
func command(name string, flags []string, args ...string) []string {
	return append(append([]string{name}, flags...), args...)
}

func testRemoteReaders(t *testing.T, s *bucketServer, run string) {
	at := []string{"--remote-cache", filepath.Join(t.TempDir(), "[cache]")} // no pattern
	checkpoint := strings.Replace(run, "?", "/checkpoints/ckpt-000006.pt?", 1)
	for _, from := range []string{run, checkpoint} {
		d := sample(t, append(at, from, "--num-samples", "1", "--timestep-respacing", "2")...)
		name := filepath.Base(d.Samples)
		if there := s.Get(t, "runs/one/samples/step-000006/"+name); !bytes.Equal(there, readFile(t, d.Samples)) {
			t.Errorf("%s there differs", name)
		}
		// Files of an earlier command are not uploaded again.
		s.Delete(t, "runs/one/samples/step-000006/"+name)
		done(t, command("export", at, from, "-o", filepath.Join(t.TempDir(), "weights.pt"))...)
		var r infoResult
		if err := json.Unmarshal([]byte(done(t, command("info", at, "--json", from)...).stdout), &r); err != nil || r.Step != 6 {
			t.Errorf("info: step %d, %v", r.Step, err)
		}
		done(t, command("nll", at, from, "--device", "cpu", "--num-samples", "4")...)
		done(t, trainTiny(filepath.Join(t.TempDir(), "run"), append(at, "--steps", "1", "--learn-sigma", "--init-from", from)...)...)
	}
	grids := []string{"samples_1x8x8x3-2.png", "samples_1x8x8x3.png"}
	if there := s.names(t, "runs/one/samples/step-000006"); !slices.Equal(there, grids) {
		t.Errorf("sample has left %q, want %q", there, grids)
	}
	terms := []string{"mse_terms.npz", "nll.npz", "vb_terms.csv", "vb_terms.npz", "vb_terms.png", "vb_terms.svg", "xstart_mse_terms.npz"}
	if there := s.names(t, "runs/one/nll/step-000006"); !slices.Equal(there, terms) {
		t.Errorf("nll has sent %q, want %q", there, terms)
	}
	t.Chdir(t.TempDir())
	done(t, append([]string{"figure", "learning-curves", "one=" + run, run}, at...)...)
	done(t, append([]string{"figure", "vlb-terms", run, "--num-pictures", "4", "--device", "cpu"}, at...)...)
	for _, missing := range [][]string{{"info", s.url("runs/two")}, {"resume", s.url("runs/two"), "--device", "cpu"}, {"export", s.url("x.pt"), "-o", "x.pt"}} {
		if got := iddpm(t, append(missing, at...)...); got.status != exitFailed || !strings.Contains(got.stderr, "s3://bucket/") {
			t.Errorf("%v: %d, %s", missing, got.status, got.stderr)
		}
	}
}

// TestRemoteTruncated checks that a truncated checkpoint at a URL is skipped.
func TestRemoteTruncated(t *testing.T) {
	s := newBucketServer(t)
	run := s.url("runs/one")
	done(t, append(trainTiny(run), "--save-interval", "2", "--steps", "4", "--remote-cache", t.TempDir())...)
	newest := s.Get(t, "runs/one/checkpoints/ckpt-000004.pt")
	s.Put(t, "runs/one/checkpoints/ckpt-000004.pt", newest[:len(newest)/2])
	got := done(t, "figure", "vlb-terms", run, "--num-pictures", "1", "--device", "cpu", "--log-json", "-o", filepath.Join(t.TempDir(), "a.png"), "--remote-cache", t.TempDir())
	for line := range strings.Lines(got.stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("figure --log-json logs %s", line)
		}
	}
	if !strings.Contains(got.stderr, "trying the previous one") {
		t.Error(got.stderr)
	}
	got = done(t, "resume", run, "--steps", "5", "--device", "cpu", "--remote-cache", t.TempDir())
	if !strings.Contains(got.stderr, "trying the previous one") || !strings.Contains(got.stderr, "ckpt-000005.pt") {
		t.Error(got.stderr)
	}
	if there := s.names(t, "runs/one/checkpoints"); !slices.Equal(there, []string{"ckpt-000002.pt", "ckpt-000004.pt", "ckpt-000005.pt"}) {
		t.Errorf("there are %q", there)
	}
}

// TestRemoteOutage checks that a run continues while uploads fail; at the end it names the
// files that are not uploaded, and a resumed run uploads them.
func TestRemoteOutage(t *testing.T) {
	s, cache := newBucketServer(t), t.TempDir()
	run := s.url("runs/one")
	refuse := func(r *http.Request) bool { return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".pt") }
	s.refuse.Store(&refuse)
	got := iddpm(t, append(trainTiny(run), "--save-interval", "2", "--steps", "4", "--remote-cache", cache, "--upload-wait", "0.001")...)
	if got.status != exitFailed || !strings.Contains(got.lastLine(), "not uploaded: checkpoints/ckpt-000004.pt") || !strings.Contains(got.stderr, copyOf(t, cache)) {
		t.Errorf("status %d, %s", got.status, got.stderr)
	}
	s.refuse.Store(nil)
	got = done(t, "resume", run, "--device", "cpu", "--remote-cache", cache)
	if there := s.names(t, "runs/one/checkpoints"); !slices.Equal(there, []string{"ckpt-000002.pt", "ckpt-000004.pt"}) {
		t.Errorf("there are %q: %s", there, got.stderr)
	}
	deny := func(r *http.Request) bool { return r.Method == http.MethodPut }
	s.refuse.Store(&deny)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // it would retry for minutes
	denied := iddpmWith(ctx, nil, append(trainTiny(s.url("runs/two")), "--remote-cache", cache)...)
	if denied.status == exitDone || len(s.names(t, "runs/two")) > 0 {
		t.Errorf("nothing can be written, and yet: %d, %s", denied.status, denied.stderr)
	}
}

// TestRemoteStalled checks that a bucket that never answers does not block training.
func TestRemoteStalled(t *testing.T) {
	s, cache := newBucketServer(t), t.TempDir()
	stall := func(r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, ".pt") {
			return false
		}
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return true
	}
	s.refuse.Store(&stall)
	got := iddpm(t, append(trainTiny(s.url("runs/one")), "--save-interval", "1", "--steps", "5", "--remote-cache", cache, "--upload-wait", "0.001")...)
	if got.status != exitFailed || !strings.Contains(got.lastLine(), "not uploaded") || len(checkpoints(copyOf(t, cache))) != 5 {
		t.Errorf("status %d, %s", got.status, got.stderr)
	}
}

// TestRemoteCopies checks local copies that differ from the URL.
func TestRemoteCopies(t *testing.T) {
	s, cache := newBucketServer(t), filepath.Join(t.TempDir(), "[cache]") // no pattern
	run, own := s.url("runs/one"), []string{"--device", "cpu", "--remote-cache", cache}
	done(t, append(trainTiny(run), "--save-interval", "1", "--steps", "2", "--remote-cache", cache)...)
	for _, name := range s.names(t, "runs/one") {
		s.Delete(t, "runs/one/"+name)
	}
	got := iddpm(t, append(trainTiny(run), "--remote-cache", cache)...)
	if got.status != exitFailed || !strings.Contains(got.lastLine(), "holds no run, but its copy on this machine") {
		t.Errorf("a vanished run: %d, %s", got.status, got.stderr)
	}
	got = done(t, append([]string{"resume", run, "--steps", "3"}, own...)...)
	want := []string{"checkpoints/ckpt-000001.pt", "checkpoints/ckpt-000002.pt", "checkpoints/ckpt-000003.pt", "config.json", "log.jsonl", "progress.csv"}
	if there := s.names(t, "runs/one"); !slices.Equal(there, want) || !strings.Contains(got.stderr, "resuming its copy") {
		t.Errorf("there are %q: %s", there, got.stderr)
	}
	s.Delete(t, "runs/one/checkpoints/ckpt-000003.pt")
	got = done(t, append([]string{"resume", run, "--steps", "4"}, own...)...)
	if !strings.Contains(got.stderr, "newer than the URL") {
		t.Errorf("it does not say that the copy is ahead: %s", got.stderr)
	}
	// From one of its checkpoints into another run, which is elsewhere.
	done(t, append([]string{"resume", strings.Replace(run, "?", "/checkpoints/ckpt-000002.pt?", 1), "--run-dir", s.url("runs/two"), "--steps", "3"}, own...)...)
	if there := s.names(t, "runs/two/checkpoints"); !slices.Equal(there, []string{"ckpt-000003.pt"}) {
		t.Errorf("the second run holds %q", there)
	}
	done(t, append(trainTiny(s.url("runs/three"), "--seed", "5"), "--steps", "1", "--remote-cache", t.TempDir())...)
	s.Put(t, "runs/one/config.json", s.Get(t, "runs/three/config.json"))
	if got = iddpm(t, append([]string{"resume", run}, own...)...); got.status != exitFailed || !strings.Contains(got.lastLine(), "a copy of another run") {
		t.Errorf("another run of that name: %d, %s", got.status, got.stderr)
	}
	s.Put(t, "runs/one/config.json", []byte("{"))
	if got = iddpm(t, append([]string{"resume", run}, own...)...); got.status != exitFailed || !strings.Contains(got.lastLine(), "config.json") || strings.Contains(got.lastLine(), "another run") {
		t.Errorf("a damaged configuration: %d, %s", got.status, got.stderr)
	}
}

// TestRemoteReference resumes from improved-diffusion's three files at a URL.
func TestRemoteReference(t *testing.T) {
	s, theirs := newBucketServer(t), t.TempDir()
	run := tinyRun(t, "--ema-rate", "0.9")
	done(t, "export", run, "--reference-layout", theirs)
	files, err := os.ReadDir(theirs)
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		s.Put(t, "theirs/"+file.Name(), readFile(t, filepath.Join(theirs, file.Name())))
	}
	flags := append(slices.Clone(tiny), "--ema-rate", "0.9", "--steps", "3", "--device", "cpu", "--remote-cache", t.TempDir())
	there, here := filepath.Join(t.TempDir(), "run"), filepath.Join(t.TempDir(), "run")
	done(t, append([]string{"resume", s.url("theirs/model000002.pt"), "--run-dir", there}, flags...)...)
	done(t, append([]string{"resume", filepath.Join(theirs, "model000002.pt"), "--run-dir", here}, flags...)...)
	sameWeights(t, there, here)
}

var uploadedLine = regexp.MustCompile(`INFO\s+uploaded\s.*ckpt-(\d+)\.pt`)

// TestRemoteKill sends SIGKILL to a run at random moments, and empties the cache of its
// machine. After each, every checkpoint at the URL is complete and nothing that was
// reported as uploaded is lost; the run ends with the bits of an uninterrupted one.
func TestRemoteKill(t *testing.T) {
	s, share := newBucketServer(t), filepath.Join(t.TempDir(), "share")
	slow := func(r *http.Request) bool { // so that kills interrupt uploads
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".pt") {
			time.Sleep(100 * time.Millisecond)
		}
		return false
	}
	s.refuse.Store(&slow)
	random := rand.New(rand.NewPCG(3, 4))
	for name, run := range map[string]string{"s3": s.url("runs/one"), "file": "file://" + share} {
		t.Run(name, func(t *testing.T) {
			newest := 0
			for range max(3, kills(t)/4) {
				p := start(t, append(trainTiny(run), "--steps", "100000", "--save-interval", "1", "--keep", "2", "--seed", "5", "--auto-resume", "--remote-cache", t.TempDir())...)
				p.waitForTraining()
				if newest == 0 {
					p.await(t, "uploaded")
				}
				time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
				if err := p.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				if status := p.end(); status != -1 {
					t.Fatalf("it ended by itself, with %d:\n%s", status, p.stderr.String())
				}
				for _, m := range uploadedLine.FindAllStringSubmatch(p.stderrSoFar(), -1) {
					step, _ := strconv.Atoi(m[1])
					newest = max(newest, step)
				}
				s.settle()
				there := filepath.Join(t.TempDir(), "there")
				if name == "file" {
					there = share
				} else {
					if err := os.MkdirAll(filepath.Join(there, "checkpoints"), 0o777); err != nil {
						t.Fatal(err)
					}
					for _, name := range s.names(t, "runs/one/checkpoints") {
						writeTo(t, filepath.Join(there, "checkpoints", name), s.Get(t, "runs/one/checkpoints/"+name))
					}
				}
				newest = checkRun(t, there, newest)
			}
			last, cache := newest+2, t.TempDir()
			done(t, "resume", run, "--steps", strconv.Itoa(last), "--device", "cpu", "--remote-cache", cache)
			whole := filepath.Join(t.TempDir(), "whole")
			done(t, append(trainTiny(whole), "--steps", strconv.Itoa(last), "--seed", "5")...)
			found, _ := filepath.Glob(filepath.Join(cache, "*", "*", "runs", "one"))
			if name == "file" {
				found = []string{share}
			}
			sameWeights(t, whole, found[0])
			t.Logf("killed %d times, %d steps were uploaded", max(3, kills(t)/4), newest)
		})
	}
}

// TestRemoteInterrupt checks that SIGTERM saves to the URL, of S3 and of file://.
func TestRemoteInterrupt(t *testing.T) {
	s := newBucketServer(t)
	share := filepath.Join(t.TempDir(), "share")
	for name, run := range map[string]string{"s3": s.url("runs/one"), "file": "file://" + share} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			p := start(t, append(trainTiny(run), "--steps", "1000000", "--save-interval", "1000000", "--remote-cache", cache)...)
			p.waitForTraining()
			p.signal(t, syscall.SIGTERM)
			if status := p.end(); status != exitSaved || !strings.Contains(p.stderrSoFar(), "uploaded") {
				t.Fatalf("status %d, %s", status, p.stderrSoFar())
			}
			elsewhere := t.TempDir()
			p = start(t, append(trainTiny(run), "--auto-resume", "--remote-cache", elsewhere)...)
			p.waitForTraining()
			p.signal(t, syscall.SIGTERM)
			if status := p.end(); status != exitSaved || !strings.Contains(p.stderrSoFar(), "resuming a run") || len(checkpoints(elsewhere+"/*/*/runs/one"))+len(checkpoints(elsewhere+"/file"+share)) == 0 {
				t.Fatalf("status %d, %s", status, p.stderrSoFar())
			}
		})
	}
	if files, err := os.ReadDir(filepath.Join(share, "checkpoints")); err != nil || len(files) == 0 {
		t.Errorf("the share holds %v, %v", files, err)
	}
}
