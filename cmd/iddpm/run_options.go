package main

import (
	"slices"
	"time"

	"iddpm/internal/cli"
)

// runOptions are the flags of train and resume in addition to a configuration.
type runOptions struct {
	sessionOptions
	preset     string
	dir        string
	autoResume bool
	reference  referenceOptions
	classifier classifierTraining
	uploadWait float64 // minutes

	stepTimeout float64 // minutes
	remoteOptions
	servers trainServers
}

// referenceOptions are flags of improved-diffusion and guided-diffusion that have another name here.
type referenceOptions struct {
	useFP16 bool   // --precision fp16
	resume  string // iddpm resume
}

func newRunOptions() *runOptions {
	return &runOptions{sessionOptions: defaultSession(), classifier: newClassifierTraining(), uploadWait: 10, stepTimeout: 60}
}

// uploadOptions are the flags of a run folder at a URL.
func (r *runOptions) uploadOptions() []cli.Option {
	return append(r.remoteOptions.options(), cli.Option{Name: "upload-wait", Category: cli.CategoryRun, Value: &r.uploadWait,
		Usage: "where --run-dir is a URL: at the end, and when interrupted, wait up to `MINUTES` for pending uploads"})
}

// validate checks the flags of waiting.
func (r *runOptions) validate() error {
	switch {
	case !(r.stepTimeout > 0):
		return cli.Errorf("--step-timeout must be above 0 minutes, not %v", r.stepTimeout)
	case !(r.uploadWait >= 0):
		return cli.Errorf("--upload-wait must be 0 minutes or more, not %v", r.uploadWait)
	}
	return nil
}

// minutes returns a time of not negative minutes; of very many, or infinitely many, two years.
func minutes(n float64) time.Duration { return time.Duration(min(n, 1e6) * float64(time.Minute)) }

func (r *runOptions) stepTimeoutOption() cli.Option {
	return cli.Option{Name: "step-timeout", Category: cli.CategoryRun, Value: &r.stepTimeout,
		Usage: "with several processes: fail after waiting `MINUTES` within a step for a process that has died or hangs"}
}

func (r *runOptions) options() []cli.Option {
	return append(slices.Concat(r.sessionOptions.options(), r.uploadOptions(), r.servers.options(), r.classifier.options()),
		cli.PresetOption(&r.preset), cli.ConfigOption(), r.processesOption(), r.connectOption(), r.stepTimeoutOption(),
		cli.Option{Name: "run-dir", Path: true, Category: cli.CategoryRun, Value: &r.dir, Standard: "runs/NNN-NAME, of the preset or the data set", Variable: "OPENAI_LOGDIR", Usage: "run folder `DIR` for checkpoints and metrics, or an s3://, gs:// or file:// URL"},
		cli.Option{Name: "auto-resume", Category: cli.CategoryRun, Value: &r.autoResume, Usage: "resume if --run-dir already holds a run"},
		cli.Option{Name: "use-fp16", Category: cli.CategoryTraining, Value: &r.reference.useFP16, Hidden: true},
		cli.Option{Name: "resume-checkpoint", Category: cli.CategoryTraining, Value: &r.reference.resume, Hidden: true},
	)
}
