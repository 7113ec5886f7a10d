package evaluate

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
)

// download is a file on the web and the beginning of its sha256.
type download struct {
	url, sum string
	patience time.Duration // timeout without any data; 0: a minute
}

// WeightsURL is where [DownloadWeights] finds the weights of TensorFlow's network, as converted
// by pytorch-fid. By PyTorch's convention the name ends in the beginning of the sha256.
const WeightsURL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"

// WeightsPath returns where [DownloadWeights] keeps the file: iddpm in the user's cache folder.
func WeightsPath() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "iddpm", path.Base(WeightsURL)), nil
}

// DownloadWeights downloads the network's weights (95 MB) to a file, atomically, and checks
// their sum. progress, unless nil, is called with the bytes received and their total (-1:
// unknown).
func DownloadWeights(ctx context.Context, file string, progress func(done, of int64)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	return download{url: WeightsURL, sum: "6726825d"}.fetch(ctx, file, progress)
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
