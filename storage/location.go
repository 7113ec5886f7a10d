package storage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// schemes are the supported URL schemes.
var schemes = []string{"s3", "gs", "file"}

// Location is the parsed URL of a file or folder.
type Location struct {
	scheme string
	bucket string // empty for file
	path   string // in the bucket, without leading or trailing slash; for file from the root
	query  string // options of the driver
}

// urlStart matches the start of a URL, and of one that lacks one or two slashes.
var urlStart = regexp.MustCompile(`^(?i:[a-z][a-z0-9+.-]*://|(s3|gs|file|https?|ftp):/)`)

// IsURL reports whether text looks like a URL rather than a path. [Parse] checks
// whether it is supported.
func IsURL(text string) bool { return urlStart.MatchString(text) }

// Parse reads s3://BUCKET/PATH?OPTIONS, gs://BUCKET/PATH?OPTIONS or file:///PATH.
// The options are those of gocloud.dev, as in
// s3://bucket/run?endpoint=http://localhost:9000&use_path_style=true&region=eu-north-1.
func Parse(text string) (Location, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Location{}, fmt.Errorf("%s is not a URL: %w", text, errors.Unwrap(err))
	}
	l := Location{u.Scheme, u.Host, strings.Trim(path.Clean("/"+u.Path), "/"), u.RawQuery}
	switch {
	case u.User != nil:
		return l, fmt.Errorf("%s://%s: credentials do not belong in a URL; set them in the environment or in the provider's configuration files", u.Scheme, u.Host)
	case !slices.Contains(schemes, u.Scheme) || !strings.HasPrefix(text, u.Scheme+"://"):
		return l, fmt.Errorf("%s: the supported URLs are s3://BUCKET/PATH, gs://BUCKET/PATH and file:///PATH", text)
	case u.Fragment != "":
		return l, fmt.Errorf("%s: a fragment (#...) is not supported; write %%23 for the character", text)
	case u.Scheme == "file" && (u.Host != "" || u.RawQuery != ""):
		return l, fmt.Errorf("%s: a file's URL has three slashes and no options, as in file:///mnt/runs/one", text)
	case u.Scheme != "file" && u.Host == "":
		return l, fmt.Errorf("%s names no bucket; write %s://BUCKET/PATH", text, u.Scheme)
	case l.path == "":
		return l, fmt.Errorf("%s names no folder; write one, as in %s/runs/one", text, strings.TrimRight(text, "/"))
	}
	return l, nil
}

// String returns the URL.
func (l Location) String() string {
	u := url.URL{Scheme: l.scheme, Host: l.bucket, Path: "/" + l.path, RawQuery: l.query}
	return u.String()
}

// Join returns the location of a name below l, such as checkpoints/ckpt-000100.pt.
func (l Location) Join(name string) Location {
	l.path = path.Join(l.path, name)
	return l
}

// Dir returns the folder that l is in.
func (l Location) Dir() Location {
	l.path = strings.TrimPrefix(path.Dir("/"+l.path), "/")
	return l
}

// Base returns the last part of the path.
func (l Location) Base() string { return path.Base(l.path) }

// Copy returns the path of the local copy of l under a cache folder. Buckets of the
// same name at different endpoints have different copies.
func (l Location) Copy(cache string) string {
	bucket := l.bucket
	query, _ := url.ParseQuery(l.query)
	if endpoint := query.Get("endpoint"); endpoint != "" {
		bucket += fmt.Sprintf("@%.4x", sha256.Sum256([]byte(endpoint)))
	}
	return filepath.Join(cache, l.scheme, bucket, filepath.FromSlash(l.path))
}
