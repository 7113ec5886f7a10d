package diffusers

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/tidwall/gjson"
	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"
)

// shardIndex is the file that lists the shards of weights in several files:
// {"weight_map": {"NAME": "diffusion_pytorch_model-00001-of-00002.safetensors", ...}}.
const shardIndex = weightsFile + ".index.json"

// ShardError says why weights in several files cannot be read.
type ShardError struct {
	Path   string // of the index, or of one of the files
	Tensor string // "": all of them
	Err    error
}

func (e *ShardError) Error() string {
	if e.Tensor == "" {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s: tensor %q: %v", e.Path, e.Tensor, e.Err)
}

// Unwrap returns the cause.
func (e *ShardError) Unwrap() error { return e.Err }

// openShards maps the files of an index into memory, and returns the tensors by diffusers' names.
func (i *Imported) openShards(index string) (map[string]*pt.Tensor, error) {
	text, err := readConfig(index)
	if err != nil {
		return nil, err
	}
	shardOf, err := parseShardIndex(text)
	var bad *ShardError
	if errors.As(err, &bad) {
		bad.Path = index
		return nil, bad
	}
	i.Files = append(i.Files, index)
	tensors := map[string]*pt.Tensor{}
	for _, name := range slices.Compact(slices.Sorted(maps.Values(shardOf))) {
		path := filepath.Join(filepath.Dir(index), name)
		file, err := i.mapFile(path)
		if err != nil {
			return nil, &ShardError{Path: index, Err: err}
		}
		for _, t := range file.Tensors {
			if shardOf[t.Name] != name {
				return nil, &ShardError{path, t.Name, errors.New("the index does not list it in this file")}
			}
			tensors[t.Name] = t.Tensor
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		if tensors[name] == nil {
			return nil, &ShardError{index, name, fmt.Errorf("%s does not hold it", shardOf[name])}
		}
	}
	return tensors, nil
}

// parseShardIndex returns the file of each tensor, which is in the folder of the index. What is wrong
// with the index is a [*ShardError] without Path.
func parseShardIndex(text []byte) (map[string]string, error) {
	if !gjson.ValidBytes(text) {
		return nil, &ShardError{Err: errors.New("is not JSON")}
	}
	var found []gjson.Result
	gjson.ParseBytes(text).ForEach(func(key, value gjson.Result) bool {
		if key.String() == "weight_map" {
			found = append(found, value)
		}
		return true
	})
	if len(found) != 1 || !found[0].IsObject() {
		return nil, &ShardError{Err: errors.New("needs one object weight_map, which lists the file of each tensor")}
	}
	shardOf := map[string]string{}
	var err error
	found[0].ForEach(func(tensor, file gjson.Result) bool {
		err = addShard(shardOf, tensor.String(), file)
		return err == nil
	})
	if err == nil && len(shardOf) == 0 {
		err = &ShardError{Err: errors.New("lists no tensors")}
	}
	return shardOf, err
}

// addShard adds the file of a tensor.
func addShard(shardOf map[string]string, tensor string, file gjson.Result) error {
	name := file.String()
	switch _, twice := shardOf[tensor]; {
	case twice:
		return &ShardError{Tensor: tensor, Err: errors.New("is listed twice")}
	case file.Type != gjson.String || name != filepath.Base(name) || filepath.Ext(name) != ".safetensors" || !filepath.IsLocal(name):
		return &ShardError{Tensor: tensor, Err: fmt.Errorf("%s is not the name of a safetensors file in the folder of the index", file.Raw)}
	}
	shardOf[tensor] = name
	return nil
}

// mapFile maps a safetensors file, which Close unmaps. The metadata are those of the first file.
func (i *Imported) mapFile(path string) (*safetensors.Mapped, error) {
	file, err := safetensors.Map(path)
	if err != nil {
		return nil, err
	}
	if i.mapped == nil {
		i.Metadata = file.Metadata
	}
	i.mapped, i.Files = append(i.mapped, file), append(i.Files, path)
	return file, nil
}
