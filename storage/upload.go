package storage

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
)

// checksumKey is the metadata entry with the MD5 of the uploaded bytes, in hexadecimal.
// A file system has no metadata.
const checksumKey = "iddpm-md5"

// partSize is the part size of multipart uploads to S3. The ETag depends on it.
const partSize = 8 << 20

// Put uploads the current content of a local file and verifies it. Bytes appended
// meanwhile are not uploaded.
func (f *Folder) Put(ctx context.Context, name, path string) error {
	_, err := attempt(ctx, f, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, f.put(ctx, name, path) })
	return err
}

// put is one attempt of Put.
func (f *Folder) put(ctx context.Context, name, path string) error {
	local, err := openLocal(path)
	if err != nil {
		return err
	}
	defer local.Close()
	if err := f.send(ctx, name, local); err != nil {
		return err
	}
	a, err := f.attributes(ctx, name)
	if err != nil {
		return fmt.Errorf("cannot verify the upload: %w", err)
	}
	same, err := f.equals(ctx, name, local, a)
	if err == nil && !same {
		err = fmt.Errorf("the uploaded file differs from the %d bytes that were sent", local.size)
	}
	return err
}

func (f *Folder) send(ctx context.Context, name string, local *localFile) error {
	ctx, cancel := f.limit(ctx, local.size)
	defer cancel()
	err := f.bucket.Upload(ctx, f.key(name), local.bytes(), &blob.WriterOptions{
		ContentType: "application/octet-stream",
		BufferSize:  partSize,
		Metadata:    map[string]string{checksumKey: local.md5},
	})
	if err == nil && f.At.scheme == "file" {
		err = syncFile(string(filepath.Separator) + filepath.FromSlash(f.key(name)))
	}
	return err
}

// syncFile flushes a file and its directory entry to the disk.
func syncFile(path string) error {
	var errs []error
	for _, p := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		errs = append(errs, f.Sync(), f.Close())
	}
	return errors.Join(errs...)
}

// holds reports whether the remote file of a name equals a local file.
func (f *Folder) holds(ctx context.Context, name, path string, a *blob.Attributes) (bool, error) {
	if info, err := os.Stat(path); err != nil || info.Size() != a.Size {
		return false, err
	}
	local, err := openLocal(path)
	if err != nil {
		return false, err
	}
	defer local.Close()
	return f.equals(ctx, name, local, a)
}

// equals compares by the service's MD5 or multipart ETag. If there is neither, or
// the service encrypts with its own key, the file is downloaded and compared.
func (f *Folder) equals(ctx context.Context, name string, local *localFile, a *blob.Attributes) (bool, error) {
	if a.Size != local.size {
		return false, nil
	}
	if hex.EncodeToString(a.MD5) == local.md5 {
		return true, nil
	}
	if tag := strings.Trim(a.ETag, `"`); strings.Contains(tag, "-") && f.At.scheme == "s3" {
		if ours, err := multipartTag(local.bytes()); err != nil || ours == tag {
			return err == nil, err
		}
	}
	sum := md5.New()
	_, err := f.read(ctx, name, local.size, sum)
	return err == nil && hex.EncodeToString(sum.Sum(nil)) == local.md5, err
}

// multipartTag returns S3's ETag of a multipart upload: the MD5 of the parts' MD5s, and
// the number of parts.
func multipartTag(r io.Reader) (string, error) {
	all, parts := md5.New(), 0
	for {
		part := md5.New()
		n, err := io.CopyN(part, r, partSize)
		if n > 0 {
			all.Write(part.Sum(nil))
			parts++
		}
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("%x-%d", all.Sum(nil), parts), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// localFile is a snapshot of a local file at the time of opening.
type localFile struct {
	*os.File
	size int64
	md5  string // in hexadecimal
}

func openLocal(path string) (*localFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l := &localFile{File: file, size: info.Size()}
	if err := l.sum(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot read %s: %w", path, err), file.Close())
	}
	return l, nil
}

// sum computes the MD5 of the bytes that the file had when it was opened.
func (l *localFile) sum() error {
	sum := md5.New()
	n, err := io.Copy(sum, l.bytes())
	if err != nil {
		return err
	}
	if n != l.size {
		return fmt.Errorf("it was truncated to %d of %d bytes", n, l.size)
	}
	l.md5 = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// bytes reads the file from its beginning.
func (l *localFile) bytes() *io.SectionReader { return io.NewSectionReader(l.File, 0, l.size) }
