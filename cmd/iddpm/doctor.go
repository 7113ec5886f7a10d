package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"iddpm/internal/cli"
	"iddpm/internal/doctor"
	"iddpm/internal/runs"
	"iddpm/internal/terminal"
)

// doctorOptions are the flags of doctor.
type doctorOptions struct {
	runDir string
	json   bool
}

func newDoctorOptions() *doctorOptions { return &doctorOptions{runDir: runs.DefaultParent} }

func (o *doctorOptions) options() []cli.Option {
	return []cli.Option{
		{Name: "run-dir", Category: cli.CategoryRun, Local: true, Value: &o.runDir, Usage: "check the disk of the run folder `DIR`"},
		cli.JSONOption(&o.json),
	}
}

func (p *program) doctorCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "doctor",
		Usage:     "check whether this machine can train, and say what to do if not",
		UsageText: "iddpm doctor [FLAGS]",
		Description: `Checks libtorch, the NVIDIA driver and GPUs, memory, threads, shared memory, disk, the JPEG decoder
and the limit on open files, and says what to do about each. The exit status is 1 if something
prevents training; a warning does not.

Examples:
  iddpm doctor
  iddpm doctor --run-dir /mnt/runs --json`,
		Flags:           cli.FlagsOf(newDoctorOptions().options()...),
		HideHelpCommand: true,
		Action:          p.doctor,
	}
}

// doctorResult is what doctor prints.
type doctorResult struct {
	Healthy bool           `json:"healthy"` // nothing prevents training
	Checks  []doctor.Check `json:"checks"`
}

func (p *program) doctor(c *urfave.Context) error {
	o := newDoctorOptions()
	if err := errors.Join(noArgument(c), cli.Apply(c, o.options())); err != nil {
		return err
	}
	r := &doctorResult{Checks: doctor.Run(doctor.ThisMachine(o.runDir))}
	r.Healthy = doctor.Healthy(r.Checks)
	if err := p.newSession(o.json, false).emit(r, r.text); err != nil {
		return err
	}
	if r.Healthy {
		return nil
	}
	var failed []string
	for _, check := range r.Checks {
		if check.State == doctor.Failed {
			failed = append(failed, check.Name)
		}
	}
	return fmt.Errorf("training is not possible: %s", strings.Join(failed, ", "))
}

func (r *doctorResult) text(w io.Writer) error {
	t := terminal.Table{}
	for _, check := range r.Checks {
		t.Line(fmt.Sprintf("%-16s%s", check.Name, check.State), "%s", check.Found)
		if check.Advice != "" {
			t.Line("", "%s", check.Advice)
		}
	}
	_, err := io.WriteString(w, t.String())
	return err
}
