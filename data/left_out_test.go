package data

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Files that programs keep next to images are counted and excluded, in a folder and in a zip.
func TestLeftOut(t *testing.T) {
	image := numbered(7)
	files := map[string][]byte{
		"cat/0.jfif": image, "dog/1.jpe": image, "dog/2.png": image,
		".ipynb_checkpoints/3-checkpoint.png": image, "cat/.thumbnails/4.png": image, ".Trash-1000/files/5.png": image, "cat/.6.png": image,
		"@eaDir/7.png/SYNOPHOTO_THUMB_M.png": image, "__MACOSX/cat/._0.png": image, "dog/._8.png": nil, "$RECYCLE.BIN/9.png": image, "cat/@eaDir/10.png": image,
		"runs/001-emoji/config.json": nil, "runs/001-emoji/checkpoints/ckpt-000001.pt": nil, "runs/001-emoji/samples/step-000001/samples_64x64x64x3.png": image, "runs/001-emoji/fid.png": image,
		"cat/11.heic": nil, "12.HEIF": nil, "13.avif": nil, "14.tif": nil, "15.tiff": nil,
		"readme.txt": nil, "cat/Thumbs.db": nil, "desktop.ini": nil, ".DS_Store": nil, "checkpoints/16.png": image, "config.json.png": image,
	}
	wantNames := []string{"cat/0.jfif", "checkpoints/16.png", "config.json.png", "dog/1.jpe", "dog/2.png"}
	want := map[string]int{ReasonHidden: 4, ReasonSystem: 5, ReasonRun: 2, "HEIC" + unsupported: 2, "AVIF" + unsupported: 1, "TIFF" + unsupported: 2}
	for kind, path := range map[string]string{"folder": folder(t, files), "zip": zipped(t, files)} {
		ds := open(t, path, Options{})
		if got := names(ds); !slices.Equal(got, wantNames) {
			t.Errorf("%s: %v", kind, got)
		}
		found := map[string]int{}
		for _, l := range ds.LeftOut() {
			found[l.Reason] = l.Images
			if _, ok := files[l.First]; !ok {
				t.Errorf("%s: the first of %q is %q", kind, l.Reason, l.First)
			}
		}
		for reason, n := range want {
			if found[reason] != n {
				t.Errorf("%s: left out %d images, want %d: %s", kind, found[reason], n, reason)
			}
		}
		if len(found) != len(want) {
			t.Errorf("%s: left out %v", kind, found)
		}
	}
}

// A data set may itself be a hidden folder. Of a run folder only the samples are images.
func TestLeftOutOfTheRoot(t *testing.T) {
	hidden := filepath.Join(folder(t, map[string][]byte{".cache/@eaDir/a.png": numbered(1)}), ".cache", "@eaDir")
	if got := names(open(t, hidden, Options{})); !slices.Equal(got, []string{"a.png"}) {
		t.Errorf("a hidden data folder: %v", got)
	}
	files := map[string][]byte{"config.json": nil, "checkpoints/x.pt": nil, "samples/grid.png": numbered(1), "photo.png": numbered(2)}
	for kind, path := range map[string]string{"folder": folder(t, files), "zip": zipped(t, files)} {
		if got := names(open(t, path, Options{})); !slices.Equal(got, []string{"photo.png"}) {
			t.Errorf("%s: a run folder as a whole: %v", kind, got)
		}
	}
	_, err := Open(folder(t, map[string][]byte{"a.heic": nil, ".b.png": nil}), Options{})
	for _, want := range []string{"no images", "a.heic (HEIC is not supported", ".b.png (hidden files"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing else: %v, want %q", err, want)
		}
	}
}

// asNobody runs f without root's permission to read everything.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nobody = 65534
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, nobody, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	defer syscall.RawSyscall(syscall.SYS_SETFSUID, 0, 0, 0)
	f()
}

// A folder without permission counts as one bad image.
func TestUnreadableFolder(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.png": numbered(1), "lost+found/b.png": numbered(2), "private/c.png": numbered(3)})
	for path, mode := range map[string]os.FileMode{filepath.Join(dir, "lost+found"): 0, filepath.Join(dir, "private"): 0} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(path, 0o755) })
	}
	for p := dir; p != filepath.Dir(os.TempDir()) && p != "/"; p = filepath.Dir(p) {
		if info, err := os.Stat(p); err == nil && info.Mode().Perm()&0o55 != 0o55 {
			if err := os.Chmod(p, info.Mode()|0o55); err != nil {
				t.Fatal(err)
			}
		}
	}
	asNobody(t, func() {
		_, err := Open(dir, Options{})
		if !isBad(err, 2) || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "lost+found/: permission denied") {
			t.Errorf("%v", err)
		}
		ds, err := Open(dir, Options{MaxBadImages: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer ds.Close()
		if bad := ds.Bad(); len(bad) != 2 || ds.Len() != 1 || bad[1].Name != "private/" {
			t.Errorf("%d images, bad: %v", ds.Len(), bad)
		}
	})
}

// Too many open files is not counted as a bad image, whatever MaxBadImages.
func TestTooFewDescriptors(t *testing.T) {
	dir := folder(t, map[string][]byte{"a.png": numbered(1), "b.png": numbered(2), "sub/c.png": numbered(3)})
	ds := open(t, dir, Options{ImageSize: 4, MaxBadImages: 100, CacheBytes: -1})
	exhaust(t)
	_, _, err := ds.Image(0)
	checkShortage(t, "reading an image", err)
	_, err = Open(dir, Options{MaxBadImages: 100})
	checkShortage(t, "listing a folder", err)
	checkShortage(t, "checking headers", ds.checkHeaders())
	l, err := NewLoader(ds, LoaderOptions{BatchSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = l.Next(t.Context())
	checkShortage(t, "loading a batch", err)
	if bad := ds.Bad(); len(bad) > 0 {
		t.Errorf("counted as bad: %v", bad)
	}
}

func checkShortage(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "too many open files: the images are fine; raise the limit on open files (ulimit -n)") || strings.Contains(err.Error(), "a.png") {
		t.Errorf("%s: %v", what, err)
	}
}

// exhaust lowers the limit on open files to those that are open, until the test ends.
func exhaust(t *testing.T) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	limit := was
	limit.Cur = 3 // lower than any descriptor that could be opened next
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	})
}

// Entries with backslashes, absolute paths or ".." give the same set as a folder.
func TestZipPaths(t *testing.T) {
	image := numbered(1)
	edm := []byte(`{"labels": [["00000/img00000000.png", 1], ["00000/img00000001.png", 0]]}`)
	for name, test := range map[string]struct {
		files map[string][]byte
		names []string
		class []string
	}{
		"backslashes":         {map[string][]byte{`cat\0.png`: image, `dog\1.png`: image}, []string{"cat/0.png", "dog/1.png"}, []string{"cat", "dog"}},
		"backslash folders":   {map[string][]byte{`set\`: nil, `set\cat\0.png`: image, `set\dog\1.png`: image}, []string{"set/cat/0.png", "set/dog/1.png"}, []string{"cat", "dog"}},
		"backslashes of edm":  {map[string][]byte{`00000\img00000000.png`: image, `00000\img00000001.png`: image, "dataset.json": edm}, []string{"00000/img00000000.png", "00000/img00000001.png"}, []string{"0", "1"}},
		"edm one level down":  {map[string][]byte{`my\00000\img00000000.png`: image, `my\00000\img00000001.png`: image, `my\dataset.json`: edm}, []string{"my/00000/img00000000.png", "my/00000/img00000001.png"}, []string{"0", "1"}},
		"from the root":       {map[string][]byte{"/abs/cat_0.png": image, "../up/dog_0.png": image, "./dot/cat_1.png": image}, []string{"abs/cat_0.png", "dot/cat_1.png", "up/dog_0.png"}, []string{"cat", "dog"}},
		"thumbnails as paths": {map[string][]byte{`cat\0.png`: image, `dog\1.png`: image, `dog\@eaDir\1.png`: image, `__MACOSX\dog\._1.png`: image}, []string{"cat/0.png", "dog/1.png"}, []string{"cat", "dog"}},
	} {
		ds := open(t, zipped(t, test.files), Options{ClassCond: true})
		if !slices.Equal(names(ds), test.names) || !slices.Equal(ds.ClassNames(), test.class) {
			t.Errorf("%s: %v of %v", name, names(ds), ds.ClassNames())
		}
	}
	if _, err := Open(zipped(t, map[string][]byte{`a\0.png`: image, "a/0.png": image}), Options{}); err == nil || !strings.Contains(err.Error(), "two entries are named a/0.png") {
		t.Errorf("one path twice: %v", err)
	}
}
