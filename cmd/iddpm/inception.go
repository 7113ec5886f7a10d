package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"go.uber.org/zap"
)

// download is a file on the web and the beginning of its sha256.
type download struct {
	url, sum string
	patience time.Duration // timeout without any data; 0: a minute
}

// inceptionFile has the weights of TensorFlow's network as converted by pytorch-fid. By
// PyTorch's convention the name ends in the sum.
var inceptionFile = download{
	url: "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
	sum: "6726825d",
}

// inceptionWeights returns the path of the network's weights on this machine. It downloads
// them if they are missing.
func (s *session) inceptionWeights(ctx context.Context) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no cache folder for the Inception network's weights: download %s and name it by --inception (%w)", inceptionFile.url, err)
	}
	file := filepath.Join(dir, "iddpm", path.Base(inceptionFile.url))
	if exists(file) {
		return file, nil
	}
	s.log.Info("downloading the Inception network's weights, once", zap.String("from", inceptionFile.url), zap.String("to", file))
	err = inceptionFile.fetch(ctx, file, func(done, of int64) { s.screen.show(int(done>>20), int(of>>20), "MiB of weights ") })
	s.screen.done()
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("cannot download the Inception network's weights: copy %s to this machine and name it by --inception (%w)", inceptionFile.url, err)
	}
	return file, err
}

// fetch downloads the file atomically and checks its sum.
func (d download) fetch(ctx context.Context, file string, reportProgress func(done, of int64)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	patience := cmp.Or(d.patience, time.Minute)
	stall := time.AfterFunc(patience, func() { stop(fmt.Errorf("%s: no data received for %v", d.url, patience)) })
	defer stall.Stop()
	err := d.get(ctx, file, func(done, of int64) {
		stall.Reset(patience)
		reportProgress(done, of)
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (d download) get(ctx context.Context, file string, reportProgress func(done, of int64)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", d.url, response.Status)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	pending, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer pending.Cleanup()
	sum := sha256.New()
	counted := &counter{of: response.ContentLength, reportProgress: reportProgress}
	if _, err := io.Copy(io.MultiWriter(pending, sum, counted), response.Body); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.HasPrefix(got, d.sum) {
		return fmt.Errorf("%s: its sha256 is %s, which should begin with %s", d.url, got, d.sum)
	}
	return pending.CloseAtomicallyReplace()
}

// counter reports the number of bytes written to it.
type counter struct {
	done, of       int64
	reportProgress func(done, of int64)
}

// Write counts p.
func (c *counter) Write(p []byte) (int, error) {
	c.done += int64(len(p))
	c.reportProgress(c.done, c.of)
	return len(p), nil
}
