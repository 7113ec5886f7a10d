package data

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/PowerDNS/lmdb-go/lmdb"
)

// database writes an LMDB database of files and returns its folder.
func database(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	env, err := lmdb.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	defer env.Close()
	if err := env.SetMapSize(1 << 30); err != nil {
		t.Fatal(err)
	}
	if err := env.Open(dir, 0, 0o666); err != nil {
		t.Fatal(err)
	}
	err = env.Update(func(txn *lmdb.Txn) error {
		root, err := txn.OpenRoot(0)
		for key, value := range files {
			if err == nil {
				err = txn.Put(root, []byte(key), value, 0)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLMDB(t *testing.T) {
	files := map[string][]byte{"ffa3": numbered(3), "0b21": numbered(1), "7c": numbered(2), "a_webp": jpegFile(t, "rgb.webp"), "b_jpeg": jpegFile(t, "rgb_420.jpg")}
	dir, same := database(t, files), folder(t, map[string][]byte{
		"1.png": files["0b21"], "2.png": files["7c"], "3.webp": files["a_webp"], "4.jpg": files["b_jpeg"], "5.png": files["ffa3"],
	})
	if err := os.Remove(filepath.Join(dir, "lock.mdb")); err != nil { // a copy may come without
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "data.mdb")} {
		ds, want := open(t, path, Options{ImageSize: 4}), open(t, same, Options{ImageSize: 4})
		if got := names(ds); !slices.Equal(got, []string{"0b21", "7c", "a_webp", "b_jpeg", "ffa3"}) {
			t.Errorf("images %v", got)
		}
		for i := range want.Len() {
			a, _, err1 := ds.Image(i)
			b, _, err2 := want.Image(i)
			if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
				t.Errorf("image %d differs from its file's: %v, %v", i, err1, err2)
			}
		}
		loaded(t, ds, LoaderOptions{BatchSize: 3, Threads: 4}, 20)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock.mdb")); !os.IsNotExist(err) {
		t.Errorf("reading leaves a lock: %v", err)
	}
}

func TestLMDBErrors(t *testing.T) {
	many := map[string][]byte{}
	for i := range 100 {
		many[string(rune('A'+i))] = jpegFile(t, "rgb_420.jpg")
	}
	whole := read(t, filepath.Join(database(t, many), "data.mdb"))
	for what, c := range map[string]struct {
		dir  string
		want string
	}{
		"cut short": {folder(t, map[string][]byte{"data.mdb": whole[:len(whole)/2]}), "data.mdb: the file is cut short"},
		"header":    {folder(t, map[string][]byte{"data.mdb": whole[:100]}), "cannot open the images"},
		"none":      {folder(t, map[string][]byte{"data.mdb": []byte(strings.Repeat("no database ", 2000))}), "cannot open the images"},
		"nothing":   {folder(t, map[string][]byte{"data.mdb": nil}), "cannot open the images"},
		"empty":     {database(t, nil), "it holds no images"},
		"text":      {database(t, map[string][]byte{"a": []byte("text")}), "a: not an image"},
	} {
		ds, err := Open(c.dir, Options{})
		if err == nil {
			ds.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", what, err, c.want)
		}
	}
}
