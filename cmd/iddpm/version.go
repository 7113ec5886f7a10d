package main

import (
	"cmp"
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	urfave "github.com/urfave/cli/v2"
	"github.com/wangkuiyi/gotorch"

	"iddpm/internal/cli"
	"iddpm/internal/host"
	"iddpm/internal/terminal"
)

// versionResult is what version prints.
type versionResult struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Go       string `json:"go"`
	Platform string `json:"platform"`

	Libtorch       string   `json:"libtorch"`                  // the release that the program needs
	LibtorchFolder string   `json:"libtorch_folder,omitempty"` // LIBTORCH
	LibtorchError  string   `json:"libtorch_error,omitempty"`  // why it cannot be loaded
	CPUCapability  string   `json:"cpu_capability,omitempty"`  // of libtorch's kernels, such as AVX512
	CUDA           bool     `json:"cuda"`                      // whether the CUDA library is installed with the program
	CUDAError      string   `json:"cuda_error,omitempty"`      // why a GPU cannot be used, or none
	GPUs           []string `json:"gpus"`
}

func (p *program) versionCommand() *urfave.Command {
	asJSON := false
	return &urfave.Command{
		Name:      "version",
		Usage:     "print the versions of iddpm, libtorch and CUDA, and the CPU capability",
		UsageText: "iddpm version [FLAGS]",
		Description: `Prints what a report of a problem should contain. It fails on no machine: what is missing is
printed as such. iddpm doctor says what to do about it.

Examples:
  iddpm version
  iddpm version --json`,
		Flags:           cli.FlagsOf(cli.JSONOption(&asJSON)),
		HideHelpCommand: true,
		Action:          p.showVersion,
	}
}

func (p *program) showVersion(c *urfave.Context) error {
	asJSON := false
	if err := errors.Join(noArgument(c), cli.Apply(c, []cli.Option{cli.JSONOption(&asJSON)})); err != nil {
		return err
	}
	r := findVersions()
	return p.newSession(asJSON, false).emit(r, r.text)
}

func findVersions() *versionResult {
	r := &versionResult{
		Version: version, Commit: commit(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Libtorch: gotorch.Version, LibtorchFolder: os.Getenv("LIBTORCH"), CUDA: host.BuiltForGPUs(), GPUs: []string{},
	}
	if err := gotorch.LoadLibrary(); err != nil {
		r.LibtorchError = err.Error()
		return r
	}
	r.CPUCapability = gotorch.CPUCapability()
	gpus, unusable := host.UsableGPUs()
	for _, g := range gpus {
		r.GPUs = append(r.GPUs, g.String())
	}
	if unusable != nil {
		r.CUDAError = unusable.Error()
	}
	return r
}

// commit returns the commit that the program was built from, of Go's build information.
func commit() string {
	found := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			found[s.Key] = s.Value
		}
	}
	if found["vcs.modified"] == "true" {
		return found["vcs.revision"] + ", modified"
	}
	return cmp.Or(found["vcs.revision"], "unknown")
}

func (r *versionResult) text(w io.Writer) error {
	t := terminal.Table{}
	t.Line("iddpm", "%s", r.Version)
	t.Line("commit", "%s", r.Commit)
	t.Line("go", "%s, %s", r.Go, r.Platform)
	t.Line("libtorch", "%s %s", r.Libtorch, cmp.Or(r.LibtorchError, r.LibtorchFolder))
	if r.CPUCapability != "" {
		t.Line("cpu capability", "%s", r.CPUCapability)
	}
	t.Line("cuda", "%s", r.cuda())
	for _, gpu := range r.GPUs {
		t.Line("gpu", "%s", gpu)
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func (r *versionResult) cuda() string {
	switch {
	case !r.CUDA:
		return "13: the CUDA library is not installed with this program"
	case r.CUDAError != "":
		return "13: " + r.CUDAError
	case r.LibtorchError != "":
		return "13: not loaded"
	}
	return "13"
}
