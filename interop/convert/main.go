// Command convert reads a file in one of the formats that iddpm shares with Python, and
// writes its content to another file. The tests of interop check with Python's own
// libraries that the content is unchanged.
//
//	convert IN OUT
//
// The extensions give the formats: .npy, .npz, .pt, .safetensors. A file can be converted to
// its own format; a .pt that is a dict of tensors also to .safetensors, and vice versa.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/wangkuiyi/gotorch/npy"
	"github.com/wangkuiyi/gotorch/pt"
	"github.com/wangkuiyi/gotorch/safetensors"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: convert IN OUT")
		os.Exit(2)
	}
	if err := convert(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "convert:", err)
		os.Exit(1)
	}
}

func convert(in, out string) error {
	conversion := filepath.Ext(in) + " to " + filepath.Ext(out)
	switch conversion {
	case ".npy to .npy":
		return npyToNPY(in, out)
	case ".npz to .npz":
		return npzToNPZ(in, out)
	case ".pt to .pt":
		v, err := pt.ReadFile(in)
		if err != nil {
			return err
		}
		return pt.WriteFile(out, v)
	case ".pt to .safetensors":
		return ptToSafetensors(in, out)
	case ".safetensors to .safetensors":
		f, err := safetensors.ReadFile(in)
		if err != nil {
			return err
		}
		return safetensors.WriteFile(out, f)
	case ".safetensors to .pt":
		return safetensorsToPT(in, out)
	}
	return fmt.Errorf("no conversion from %s", conversion)
}

func npyToNPY(in, out string) error {
	a, err := npy.ReadFile(in)
	if err != nil {
		return err
	}
	return npy.WriteFile(out, a)
}

func npzToNPZ(in, out string) error {
	z, err := npy.OpenNPZ(in)
	if err != nil {
		return err
	}
	defer z.Close()
	var arrays []npy.Named
	for _, name := range z.Names() {
		a, err := z.Read(name)
		if err != nil {
			return err
		}
		arrays = append(arrays, npy.Named{Name: name, Array: a})
	}
	return npy.WriteNPZFile(out, arrays...)
}

func ptToSafetensors(in, out string) error {
	v, err := pt.ReadFile(in)
	if err != nil {
		return err
	}
	d, ok := v.(*pt.Dict)
	if !ok {
		return fmt.Errorf("%s holds a %T, not a dict", in, v)
	}
	f := &safetensors.File{Metadata: map[string]string{"format": "pt"}}
	for key, value := range d.All() {
		name, isName := key.(string)
		t, isTensor := value.(*pt.Tensor)
		if !isName || !isTensor {
			return fmt.Errorf("%s: %v is not a named tensor", in, key)
		}
		f.Tensors = append(f.Tensors, safetensors.Named{Name: name, Tensor: t})
	}
	return safetensors.WriteFile(out, f)
}

func safetensorsToPT(in, out string) error {
	f, err := safetensors.ReadFile(in)
	if err != nil {
		return err
	}
	d := &pt.Dict{Ordered: true}
	for _, t := range f.Tensors {
		d.Set(t.Name, t.Tensor)
	}
	return pt.WriteFile(out, d)
}
