package main

import (
	"slices"

	"iddpm/internal/cli"
)

type infoOptions struct {
	remoteOptions
	preset     string
	guidance   guidanceOptions
	classifier classifierOptions
	json       bool
}

func newInfoOptions() *infoOptions {
	return &infoOptions{guidance: noGuidance(), classifier: newClassifierOptions()}
}

func (o *infoOptions) options() []cli.Option {
	return append(slices.Concat(o.remoteOptions.options(), o.guidance.options(), o.classifier.options()),
		cli.PresetOption(&o.preset), cli.ConfigOption(),
		cli.JSONOption(&o.json),
	)
}
