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
			var points []figure.SamplerPoint
			for _, from := range sources {
				of, err := readFewSteps(from)
				if err != nil {
					return nil, err
				}
				points = append(points, of...)
			}
			return figure.FewSteps(points), nil
		}
	},
}

// readFewSteps reads the output of bench few-steps. Samplers that add noise generate other images,
// whose distance says nothing.
func readFewSteps(from source) (points []figure.SamplerPoint, err error) {
	text, err := regularfile.Read(from.path)
	if err != nil {
		return nil, err
	}
	var result fewStepsResult
	if err := json.Unmarshal(text, &result); err != nil || result.What != "few-steps" {
		return nil, fmt.Errorf("%s is not the output of iddpm bench few-steps --json", from.path)
	}
	for _, r := range result.Rows {
		if r.Deterministic {
			points = append(points, figure.SamplerPoint{
				Model: from.name, Sampler: r.Sampler, Spacing: r.Spacing, Timesteps: r.Timesteps, Evaluations: r.Evaluations, Value: r.RMS, Seconds: r.SecondsPer64,
			})
		}
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("%s has no sampler that adds no noise", from.path)
	}
	return points, nil
}
