package diffusers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wangkuiyi/gotorch/safetensors"
)

// sharded writes a folder whose weights are in two files, and returns that of the network and the index.
func sharded(t *testing.T) (unet string, index map[string]string) {
	t.Helper()
	c, d := small()
	weights, _ := counted(t, c)
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := (Pipeline{Model: c, Diffusion: d, Weights: weights, Metadata: map[string]string{"key": "value"}}).Write(dir); err != nil {
		t.Fatal(err)
	}
	unet = filepath.Join(dir, unetFolder)
	single := filepath.Join(unet, weightsFile)
	all, err := safetensors.ReadFile(single)
	if err != nil {
		t.Fatal(err)
	}
	index = map[string]string{}
	var shards [2]safetensors.File
	for i, tensor := range all.Tensors {
		shards[i%2].Tensors = append(shards[i%2].Tensors, tensor)
		index[tensor.Name] = shardName(i % 2)
	}
	for i := range shards {
		shards[i].Metadata = all.Metadata
		if err := safetensors.WriteFile(filepath.Join(unet, shardName(i)), &shards[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(single); err != nil {
		t.Fatal(err)
	}
	return unet, index
}

func shardName(i int) string {
	return fmt.Sprintf("diffusion_pytorch_model-0000%d-of-00002.safetensors", i+1)
}

func writeIndex(t *testing.T, unet string, shardOf map[string]string) string {
	t.Helper()
	path := filepath.Join(unet, shardIndex)
	if err := os.WriteFile(path, text(t, map[string]any{"metadata": map[string]int{"total_size": 1}, "weight_map": shardOf}), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReadShards reads what one file would hold, whichever file is named.
func TestReadShards(t *testing.T) {
	unet, shardOf := sharded(t)
	index := writeIndex(t, unet, shardOf)
	c, _ := small()
	want, _ := counted(t, c)
	for _, path := range []string{filepath.Dir(unet), unet, index, filepath.Join(unet, shardName(1))} {
		found, ok := Find(path)
		if !ok {
			t.Fatalf("%s: not found", path)
		}
		i, err := Read(found)
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range want.All() { // rows of queries, keys and values are compared by the other tests
			if got, _ := i.Weights.Get(key); !reflect.DeepEqual(got, value) {
				t.Errorf("%v differs", key)
			}
		}
		if files := []string{index, filepath.Join(unet, shardName(0)), filepath.Join(unet, shardName(1))}; !reflect.DeepEqual(i.Files, files) || i.Path != index || i.Metadata["key"] != "value" {
			t.Errorf("files %v, path %s, metadata %v", i.Files, i.Path, i.Metadata)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestReadShardsRefuses has indexes that do not fit the files beside them, or lead elsewhere.
func TestReadShardsRefuses(t *testing.T) {
	const tensor = "conv_in.bias"
	for want, change := range map[string]func(t *testing.T, unet string, shardOf map[string]string){
		"is not the name of a safetensors file in the folder": func(_ *testing.T, _ string, shardOf map[string]string) { shardOf[tensor] = "../" + shardOf[tensor] },
		"no such file": func(t *testing.T, unet string, _ map[string]string) {
			if err := os.Remove(filepath.Join(unet, shardName(1))); err != nil {
				t.Fatal(err)
			}
		},
		`tensor "extra": ` + shardName(0) + " does not hold it":       func(_ *testing.T, _ string, shardOf map[string]string) { shardOf["extra"] = shardName(0) },
		`tensor "conv_in.bias": the index does not list it in this f`: func(_ *testing.T, _ string, shardOf map[string]string) { delete(shardOf, tensor) },
		"truncated": func(t *testing.T, unet string, _ map[string]string) {
			if err := os.WriteFile(filepath.Join(unet, shardName(0)), []byte("x"), 0o666); err != nil {
				t.Fatal(err)
			}
		},
		"the index does not list it in this file": func(t *testing.T, unet string, _ map[string]string) { // each tensor in both files
			first, err := os.ReadFile(filepath.Join(unet, shardName(0)))
			if err := errors.Join(err, os.WriteFile(filepath.Join(unet, shardName(1)), first, 0o666)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		unet, shardOf := sharded(t)
		change(t, unet, shardOf)
		writeIndex(t, unet, shardOf)
		_, err := Read(unet)
		var bad *ShardError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) || bad.Path == "" {
			t.Errorf("got %v, want %q", err, want)
		}
		if want == "no such file" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v is not ErrNotExist", err)
		}
	}
}

var badIndexes = map[string]string{
	`{"weight_map": {"a": "m.safetensors"}`: "is not JSON",
	`[]`:                                    "needs one object weight_map",
	`{"weight_map": 1}`:                     "needs one object weight_map",
	`{"metadata": {}}`:                      "needs one object weight_map",
	`{"weight_map": {"a": "m.safetensors"}, "weight_map": {"a": "n.safetensors"}}`: "needs one object weight_map",
	`{"weight_map": {}}`: "lists no tensors",
	`{"weight_map": {"a": "m.safetensors", "\u0061": "n.safetensors"}}`:                 `tensor "a": is listed twice`,
	`{"weight_map": {"a": "../m.safetensors"}}`:                                         "in the folder of the index",
	`{"weight_map": {"a": "/tmp/m.safetensors"}}`:                                       "in the folder of the index",
	`{"weight_map": {"a": ".."}}`:                                                       "in the folder of the index",
	`{"weight_map": {"a": ""}}`:                                                         "in the folder of the index",
	`{"weight_map": {"a": "m.bin"}}`:                                                    "in the folder of the index",
	`{"weight_map": {"a": 7}}`:                                                          "7 is not the name",
	`{"weight_map": {"a": {"b": "m.safetensors"}}}`:                                     "is not the name",
	`{"weight_map": {"a": "sub/m.safetensors"}, "metadata": {"total_size": 1}}` + "\n ": "in the folder of the index",
}

func TestParseShardIndexRefuses(t *testing.T) {
	for text, want := range badIndexes {
		_, err := parseShardIndex([]byte(text))
		var bad *ShardError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParseShardIndex(f *testing.F) {
	for text := range badIndexes {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"metadata": {"total_size": 8}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}`))
	f.Add([]byte(`{"weight_mAp": {"b": "n.safetensors"}, "weight_map": {"a": "n.safetensors"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		shardOf, err := parseShardIndex(text)
		var bad *ShardError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%v is not a ShardError", err)
		}
		if err != nil {
			return
		}
		var object map[string]json.RawMessage // a struct would match names of other case, too
		var plain map[string]string
		if !utf8.Valid(text) || json.Unmarshal(text, &object) != nil || json.Unmarshal(object["weight_map"], &plain) != nil {
			return // encoding/json changes what is not UTF-8
		}
		for tensor, name := range shardOf {
			if path := filepath.Join("folder", name); filepath.Dir(path) != "folder" || filepath.Ext(path) != ".safetensors" {
				t.Errorf("%s is in %s", tensor, path)
			}
		}
		if !maps.Equal(plain, shardOf) {
			t.Errorf("read %v, and encoding/json %v", shardOf, plain)
		}
	})
}
