package main

import (
	"fmt"
	"io"
	"math"

	"iddpm/internal/terminal"
	"iddpm/runconfig"
	"iddpm/train"
)

// printSummary prints the result of a run and the commands that use it.
func printSummary(w io.Writer, sum train.Summary, config runconfig.Config) error {
	more, input := "", ""
	if total := config.Train.TotalSteps(); sum.Step == total {
		more = fmt.Sprintf(" --steps %d", 2*total)
	}
	source := terminal.ShellWord(sum.RunDir)
	switch {
	case config.Classifier != nil:
		source = "DENOISER --classifier " + source
	case config.Model.SuperRes():
		input = " --base-samples FOLDER"
	}
	loss := "unknown: stopped before the first step"
	switch total := config.Train.TotalSteps(); {
	case sum.FirstLoss != 0:
		loss = fmt.Sprintf("%.4g -> %.4g", sum.FirstLoss, sum.LastLoss)
	case total > 0 && sum.Step >= total:
		loss = "unchanged: no steps were left"
	}
	_, err := fmt.Fprintf(w, `step        %d, after %.1f s
loss        %s
run folder  %s
checkpoint  %s
resume      iddpm resume %s%s
weights     %s
sample      iddpm sample %s%s
`, sum.Step, sum.Seconds, loss, sum.RunDir, sum.Checkpoint, terminal.ShellWord(sum.RunDir), more, withReason(sum.Weights.Name, sum.Weights.Reason), source, input)
	return err
}

// withReason adds to the name of weights why they are the default, if there is a reason.
func withReason(weights, reason string) string {
	if reason == "" {
		return weights
	}
	return weights + ": " + reason
}

// trainProgress returns a callback that moves the bar of a training run.
func trainProgress(s *terminal.Screen) func(train.Progress) {
	first := math.MaxInt // the step before the first one of this process
	return func(at train.Progress) {
		first = min(first, at.Step-1)
		what, left := fmt.Sprintf("step %d", at.Step), -1
		if at.Total > 0 {
			what, left = fmt.Sprintf("step %d/%d", at.Step, at.Total), at.Total-first
		}
		s.Show(at.Step-first, left, fmt.Sprintf("%s  loss %.4f  %.1f img/s ", what, at.Loss, at.ImagesPerSecond))
	}
}
