// Command fakestore serves S3 and Google Cloud Storage from memory, for tests. It prints one line of
// JSON with the addresses, and ends with its standard input. Package internal/fakestore starts it.
//
// It is a module of its own, so that a program that imports iddpm does not get its requirements.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

const bucket = "bucket" // the only one, of both

func main() {
	s3, gcs, err := serve()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(map[string]string{"s3": s3, "gcs": gcs})
	}
	if err != nil {
		log.Fatal("fakestore: ", err)
	}
	io.Copy(io.Discard, os.Stdin)
}

// serve starts both servers and returns their addresses, HOST:PORT.
func serve() (s3, gcs string, err error) {
	objects := s3mem.New()
	if err := objects.CreateBucket(bucket); err != nil {
		return "", "", err
	}
	mux := http.NewServeMux()
	mux.Handle("/", gofakes3.New(objects).Server())
	mux.HandleFunc("POST /halve", func(w http.ResponseWriter, r *http.Request) {
		if err := halve(objects, r.FormValue("key"), r.FormValue("checksum") == "keep"); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	line, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	go http.Serve(line, mux)
	gcs, err = serveGCS()
	return line.Addr().String(), gcs, err
}

func serveGCS() (string, error) {
	line, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := line.Addr().String()
	gcs, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", NoListener: true, PublicHost: address})
	if err != nil {
		return "", err
	}
	gcs.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: bucket})
	go http.Serve(line, gcs.HTTPHandler())
	return address, nil
}

// halve truncates an object, as a broken connection does. Its checksum is either that of the half or
// still that of the whole.
func halve(objects gofakes3.Backend, key string, keepChecksum bool) error {
	o, err := objects.GetObject(bucket, key, nil)
	if err != nil {
		return err
	}
	defer o.Contents.Close()
	for entry := range o.Metadata {
		if strings.HasPrefix(strings.ToLower(entry), "x-amz-checksum") && !keepChecksum {
			delete(o.Metadata, entry)
		}
	}
	body, err := io.ReadAll(io.LimitReader(o.Contents, o.Size/2))
	if err != nil {
		return err
	}
	_, err = objects.PutObject(bucket, key, o.Metadata, bytes.NewReader(body), int64(len(body)), nil)
	return err
}
