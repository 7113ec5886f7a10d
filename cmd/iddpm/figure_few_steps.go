package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wangkuiyi/gotorch/regularfile"

	"iddpm/figure"
	"iddpm/internal/cli"
)

var fewStepsFigure = figureSpec{
	name:      "few-steps",
	usage:     "what samplers lose in few steps",
	arguments: "JSON...",
	description: `Plots the results of "iddpm bench few-steps CKPT_OR_RUN_DIR --json": the distance of samples to those of all
timesteps against the evaluations of the network, for every sampler that adds no noise, in a panel
per file. An argument may be NAME=FILE.

Examples:
  iddpm bench few-steps runs/001-emoji --json > epsilon.json
  iddpm bench few-steps runs/002-emoji --json > v.json
  iddpm figure few-steps epsilon.json v.json`,
	begin: func() ([]cli.Option, draw) {
		return nil, func(_ context.Context, _ *session, args []string) (drawing, error) {
			sources, err := sourcesOf(args)
			if err != nil {
				return nil, err
			}
			if len(sources) == 0 {
				return nil, cli.Errorf("name the output of iddpm bench few-steps --json")
			}
			var models []figure.FewStepsModel
			for _, from := range sources {
				m, err := readFewSteps(from)
				if err != nil {
					return nil, err
				}
				models = append(models, m)
			}
			return figure.FewSteps(models), nil
		}
	},
}

// readFewSteps reads the output of bench few-steps. Samplers that add noise generate other images,
// whose distance says nothing.
func readFewSteps(from source) (figure.FewStepsModel, error) {
	m := figure.FewStepsModel{Name: from.name}
	text, err := regularfile.Read(from.path)
	if err != nil {
		return m, err
	}
	var result fewStepsResult
	if err := json.Unmarshal(text, &result); err != nil || result.What != "few-steps" {
		return m, fmt.Errorf("%s is not the output of iddpm bench few-steps --json", from.path)
	}
	for _, r := range result.Rows {
		if r.Deterministic {
			m.Rows = append(m.Rows, figure.FewStepsRow{Sampler: r.Sampler + ", " + r.Spacing, Timesteps: r.Timesteps, Evaluations: r.Evaluations, RMS: r.RMS, Seconds: r.SecondsPer64})
		}
	}
	if len(m.Rows) == 0 {
		return m, fmt.Errorf("%s has no sampler that adds no noise", from.path)
	}
	return m, nil
}
