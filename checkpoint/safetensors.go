package checkpoint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/regularfile"
	"github.com/wangkuiyi/gotorch/safetensors"

	"iddpm/runconfig"
)

// The metadata of exported safetensors files. The format allows only texts: the values are JSON,
// except those of the weights and the data, which are names.
const (
	metadataConfig  = "iddpm.config"       // the whole Config
	metadataStep    = "iddpm.step"         // of the checkpoint
	metadataWeights = "iddpm.weights"      // decay rate of the EMA, or RawWeights
	metadataClasses = "iddpm.classes"      // names by label
	metadataCounts  = "iddpm.class_counts" // training images by label
	metadataData    = "iddpm.data"         // name of the training images
)

// ExportPT returns a checkpoint that holds one set of weights in the layout of a .pt file.
func (c *Checkpoint) ExportPT() (*pt.Dict, error) {
	config, err := json.Marshal(c.Config)
	if err != nil {
		return nil, err
	}
	return dictOf("format", int64(formatVersion), "config", string(config), "step", int64(c.Step), exportedKey, c.Exported, "model", c.Model,
		"data", dataDict(c.Position, c.DataName, c.DataFingerprint, c.ClassNames, c.ClassCounts)), nil
}

// ExportSafetensors returns the weights that ema names, see [Checkpoint.Weights], as a safetensors
// file that [Load] reads with its configuration: one of a checkpoint with a
// configuration. One of bare weights has none to store.
func (c *Checkpoint) ExportSafetensors(ema string) (*safetensors.File, error) {
	w, err := c.Weights(ema)
	if err != nil {
		return nil, err
	}
	f := new(safetensors.File)
	if f.Metadata, err = c.Metadata(w); err != nil {
		return nil, err
	}
	f.Metadata["format"] = "pt" // Python's transformers require it
	for name, value := range w.Dict.All() {
		tensor, ok := value.(*pt.Tensor)
		if !ok {
			return nil, fmt.Errorf("%s: %v is a %s, not a tensor", c.Path, name, pt.TypeName(value))
		}
		f.Tensors = append(f.Tensors, safetensors.Named{Name: fmt.Sprint(name), Tensor: tensor})
	}
	return f, nil
}

// Metadata returns the texts that a safetensors file of weights w needs to be used without flags; none
// for bare weights.
func (c *Checkpoint) Metadata(w Weights) (map[string]string, error) {
	metadata := map[string]string{}
	if c.Bare {
		return metadata, nil
	}
	metadata[metadataWeights] = w.Rate
	if c.DataName != "" {
		metadata[metadataData] = c.DataName
	}
	for key, value := range map[string]any{metadataConfig: c.Config, metadataStep: c.Step, metadataClasses: c.ClassNames, metadataCounts: c.ClassCounts} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		if string(text) != "null" {
			metadata[key] = string(text)
		}
	}
	return metadata, nil
}

// isSafetensors reports whether a file is to be read as safetensors: by its name, or by its
// first bytes.
func isSafetensors(path string) bool {
	if filepath.Ext(path) == ".safetensors" {
		return true
	}
	f, err := regularfile.Open(path)
	if err != nil {
		return false // opening it again returns the error
	}
	defer f.Close()
	var start [9]byte
	_, err = io.ReadFull(f, start[:])
	return err == nil && safetensors.Begins(start[:])
}

// readSafetensors maps a safetensors file into memory, as a checkpoint.
func readSafetensors(path string) (*Checkpoint, error) {
	m, err := safetensors.Map(path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Path: path, mapped: m}
	if err := c.parseSafetensors(&m.File); err != nil {
		m.Close()
		return nil, err
	}
	return c, nil
}

// parseSafetensors reads the content of a safetensors file. Without our metadata it is a file of
// bare weights.
func (c *Checkpoint) parseSafetensors(f *safetensors.File) error {
	dict := &pt.Dict{Ordered: true}
	for _, t := range f.Tensors {
		dict.Set(t.Name, t.Tensor)
	}
	text, ok := f.Metadata[metadataConfig]
	if !ok {
		return c.readBare(dict)
	}
	if err := c.readMetadata(text, f.Metadata); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Path, err)
	}
	c.Model = dict
	return nil
}

func (c *Checkpoint) readMetadata(config string, metadata map[string]string) (err error) {
	if c.Config, err = runconfig.Parse([]byte(config)); err != nil {
		return fmt.Errorf("%s: %w", metadataConfig, err)
	}
	for key, value := range map[string]any{metadataStep: &c.Step, metadataClasses: &c.ClassNames, metadataCounts: &c.ClassCounts} {
		if text, ok := metadata[key]; ok {
			if err := json.Unmarshal([]byte(text), value); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	c.Exported, c.DataName = cmp.Or(metadata[metadataWeights], RawWeights), metadata[metadataData]
	if err := checkWeightsKey(c.Exported); err != nil {
		return fmt.Errorf("%s: %w", metadataWeights, err)
	}
	if c.Step < 0 {
		return fmt.Errorf("%s: %d is negative", metadataStep, c.Step)
	}
	return nil
}

// Close unmaps the file of a checkpoint that was read from safetensors, whose tensors must not be
// used afterwards. Networks that were made from it have copies of the weights. Without Close the
// file is mapped for the life of the process, which costs address space alone.
func (c *Checkpoint) Close() error {
	if c.mapped == nil {
		return nil
	}
	return c.mapped.Close()
}
