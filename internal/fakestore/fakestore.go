// Package fakestore gives tests an S3 and a Google Cloud Storage server with one bucket each. They run
// in a process of their own, tools/fakestore, which is another module.
package fakestore

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Servers are the running servers.
type Servers struct {
	S3  string `json:"s3"`  // HOST:PORT
	GCS string `json:"gcs"` // HOST:PORT, for STORAGE_EMULATOR_HOST
}

// Start starts servers with empty buckets, named "bucket", until the test ends, and sets the
// credentials of S3's clients.
func Start(t testing.TB) *Servers {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "tester")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	_, file, _, _ := runtime.Caller(0)
	// The go command caches the program.
	c := exec.Command("go", "run", ".")
	c.Dir = filepath.Join(filepath.Dir(file), "../../tools/fakestore")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	s := new(Servers)
	if err := json.NewDecoder(out).Decode(s); err != nil {
		t.Fatalf("fakestore did not start: %v", err)
	}
	return s
}

// URLAt returns the URL of a path in the S3 bucket for a server, or a proxy, at an address.
func URLAt(endpoint, path string) string {
	return "s3://bucket/" + path + "?region=eu-north-1&use_path_style=true&endpoint=" + url.QueryEscape(endpoint)
}

// Get returns an S3 object.
func (s *Servers) Get(t testing.TB, key string) []byte {
	t.Helper()
	return s.do(t, http.MethodGet, "/bucket/"+key, nil)
}

// Put stores an S3 object as another program would, without a checksum.
func (s *Servers) Put(t testing.TB, key string, body []byte) {
	t.Helper()
	s.Delete(t, key) // its checksum would stay
	s.do(t, http.MethodPut, "/bucket/"+key, body)
}

// Delete removes an S3 object, if there is one.
func (s *Servers) Delete(t testing.TB, key string) {
	t.Helper()
	s.do(t, http.MethodDelete, "/bucket/"+key, nil)
}

// Halve truncates an S3 object. Its checksum is then that of the half, or still that of the whole.
func (s *Servers) Halve(key string, keepChecksum bool) error {
	form := url.Values{"key": {key}}
	if keepChecksum {
		form.Set("checksum", "keep")
	}
	r, err := http.PostForm("http://"+s.S3+"/halve", form)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("halving %s: %s", key, r.Status)
	}
	return nil
}

// List returns the keys of the S3 objects with a prefix, in order.
func (s *Servers) List(t testing.TB, prefix string) (keys []string) {
	t.Helper()
	var list struct {
		Contents []struct{ Key string }
	}
	body := s.do(t, http.MethodGet, "/bucket?max-keys=1000&prefix="+url.QueryEscape(prefix), nil)
	if err := xml.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Contents {
		keys = append(keys, o.Key)
	}
	return keys
}

func (s *Servers) do(t testing.TB, method, path string, body []byte) []byte {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.S3+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v: %s", method, path, response.Status, err, got)
	}
	return got
}
