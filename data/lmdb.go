package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/PowerDNS/lmdb-go/lmdb"
)

// lmdbFile is the data file of an LMDB database, as in LSUN.
const lmdbFile = "data.mdb"

// openLMDBFolder opens the database in dir. It returns nil if there is none.
func openLMDBFolder(dir string) (*collection, error) {
	file := filepath.Join(dir, lmdbFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return openLMDB(file, "LMDB "+dir)
}

// openLMDB opens a database whose values are image files, as in LSUN, named by their
// keys. It is read without a lock, so that it may be on a read-only disk. The database
// must not change meanwhile.
func openLMDB(file, title string) (*collection, error) {
	env, err := openEnvironment(file)
	if err != nil {
		return nil, fmt.Errorf("cannot open the images: %s: %w", file, err)
	}
	root, names, err := lmdbKeys(env)
	if err == nil && len(names) == 0 {
		err = errors.New("it holds no images")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", file, err), env.Close())
	}
	return &collection{title: title, source: &files{
		names: names,
		open:  func(i int) (io.ReadCloser, error) { return lmdbValue(env, root, names[i]) },
		close: env.Close,
	}}, nil
}

func openEnvironment(file string) (*lmdb.Env, error) {
	env, err := lmdb.NewEnv()
	if err != nil {
		return nil, err
	}
	const flags = lmdb.Readonly | lmdb.NoLock | lmdb.NoSubdir | lmdb.NoReadahead
	if err := env.Open(file, flags, 0); err != nil {
		return nil, errors.Join(err, env.Close())
	}
	if err := checkComplete(env, file); err != nil {
		return nil, errors.Join(err, env.Close())
	}
	return env, nil
}

// checkComplete compares the file's size with the database's header. LMDB maps
// the file into memory: reading past its end would raise SIGBUS.
func checkComplete(env *lmdb.Env, file string) error {
	on, err := os.Stat(file)
	if err != nil {
		return cause(err)
	}
	info, err := env.Info()
	if err != nil {
		return err
	}
	stat, err := env.Stat()
	if err != nil {
		return err
	}
	if want := (info.LastPNO + 1) * int64(stat.PSize); on.Size() < want {
		return fmt.Errorf("the file is cut short: %d bytes of %d", on.Size(), want)
	}
	return nil
}

// lmdbKeys lists the keys, which are sorted by their bytes.
func lmdbKeys(env *lmdb.Env) (root lmdb.DBI, names []string, err error) {
	err = env.View(func(txn *lmdb.Txn) error {
		if root, err = txn.OpenRoot(0); err != nil {
			return err
		}
		cursor, err := txn.OpenCursor(root)
		if err != nil {
			return err
		}
		defer cursor.Close()
		txn.RawRead = true // no copies of the images
		for {
			key, _, err := cursor.Get(nil, nil, lmdb.Next)
			if lmdb.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			names = append(names, string(key))
		}
	})
	return root, names, err
}

func lmdbValue(env *lmdb.Env, root lmdb.DBI, key string) (io.ReadCloser, error) {
	var value []byte
	err := env.View(func(txn *lmdb.Txn) (err error) {
		value, err = txn.Get(root, []byte(key))
		return err
	})
	return io.NopCloser(bytes.NewReader(value)), err
}
