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

// checksumKey is the entry of a file's metadata that holds the MD5 of what was
// sent, in hexadecimal. A file system keeps no metadata.
const checksumKey = "iddpm-md5"

// partSize is of the parts that a large file goes to S3 in, which is what makes
// its ETag.
const partSize = 8 << 20

// Put sends what a local file holds now, and checks that it has arrived. What a
// process appends to the file meanwhile is not sent.
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
		return fmt.Errorf("cannot check what was sent: %w", err)
	}
	same, err := f.equals(ctx, name, local, a)
	if err == nil && !same {
		err = fmt.Errorf("what arrived differs from the %d bytes that were sent", local.size)
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

// syncFile flushes a file and its folder's entry to the disk.
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

// holds reports whether a local file is what the folder holds under a name.
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

// equals compares by what the service says of the file: its MD5, or the ETag of
// one that came in parts. Where it says neither, or encrypts by a key of its own,
// the file is read back.
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

// multipartTag returns the ETag that S3 gives a file which came in parts: the MD5
// of their MD5s, and how many they were.
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

// localFile is a local file as it was when it was opened.
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

// sum computes the MD5 of as many bytes as the file had when it was opened.
func (l *localFile) sum() error {
	sum := md5.New()
	n, err := io.Copy(sum, l.bytes())
	if err != nil {
		return err
	}
	if n != l.size {
		return fmt.Errorf("it has lost its end, and has %d bytes of %d", n, l.size)
	}
	l.md5 = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// bytes reads the file from its beginning.
func (l *localFile) bytes() *io.SectionReader { return io.NewSectionReader(l.File, 0, l.size) }
