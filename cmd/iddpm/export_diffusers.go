package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"iddpm/checkpoint"
	"iddpm/diffusers"
	"iddpm/train"
	"iddpm/train/metrics"
)

// exportDiffusers writes the weights as a pipeline of diffusers, and returns their name and the
// files.
func (s *session) exportDiffusers(c *checkpoint.Checkpoint, o *exportOptions) (name string, files []string, err error) {
	if c.Bare {
		if err := c.CompletePublished(); err != nil {
			return "", nil, err
		}
	}
	if c.Config.Classifier != nil {
		return "", nil, fmt.Errorf("checkpoint %s %w", c.Path, checkpoint.ErrClassifier)
	}
	weights, err := c.Weights(o.ema)
	if err != nil {
		return "", nil, err
	}
	s.logWeights(c, weights)
	p := diffusers.Pipeline{Model: c.Config.Model, Diffusion: c.Config.Diffusion, Weights: weights.Dict, Scheduler: diffusers.DDPM, Card: modelCard(c, weights, o.license)}
	if o.scheduler == "ddim" {
		p.Scheduler = diffusers.DDIM
	}
	if p.Scheduler == diffusers.DDPM || !c.Config.Model.LearnSigma { // else it is another network
		if p.Metadata, err = c.Metadata(weights); err != nil {
			return "", nil, err
		}
	}
	files, err = p.Write(o.out)
	return weights.Name, files, err
}

// publicName returns the name of a data set without the folders of this machine: a card is written
// to be published.
func publicName(data string) string {
	if filepath.IsAbs(data) {
		return filepath.Base(data)
	}
	return data
}

// modelCard describes a checkpoint, with the metrics and the newest samples of its run folder if it
// is in one.
func modelCard(c *checkpoint.Checkpoint, weights checkpoint.Weights, license string) diffusers.Card {
	card := diffusers.Card{
		Name: strings.TrimSuffix(filepath.Base(c.Path), filepath.Ext(c.Path)), Data: publicName(c.DataName), Steps: c.Step,
		Weights: weights.Name, License: license, Classes: c.ClassNames,
	}
	dir, ok := runOf(c)
	if !ok {
		return card
	}
	if full, err := filepath.Abs(dir); err == nil {
		card.Name = filepath.Base(full)
	}
	rows, _ := metrics.Read(dir) // without a log the card says so
	card.Metrics = lastMetrics(rows, c.Step)
	card.Samples = lastGrid(dir, c.Step)
	return card
}

// lastGrid returns the newest sample grid of a run up to a step, a PNG file; nil if there is none.
func lastGrid(dir string, step int) (image []byte) {
	dir = filepath.Join(dir, "samples")
	entries, _ := os.ReadDir(dir) // a missing folder has none
	newest, file := -1, ""
	for _, e := range entries {
		var of int
		if _, err := fmt.Sscanf(e.Name(), "step-%d.png", &of); err == nil && filepath.Ext(e.Name()) == ".png" && of <= step && of > newest {
			newest, file = of, e.Name()
		}
	}
	if file != "" {
		image, _ = os.ReadFile(filepath.Join(dir, file)) // the card does without
	}
	return image
}

// lastMetrics returns the last value of each metric of quality up to a step; without any, the loss.
func lastMetrics(rows []metrics.Row, step int) (list []string) {
	named := func(metric, name string) {
		for i := len(rows) - 1; i >= 0; i-- {
			if v, ok := rows[i].Get(metric); ok && rows[i].Step <= step {
				list = append(list, fmt.Sprintf("%s %.4g at step %d", name, v, rows[i].Step))
				return
			}
		}
	}
	named(train.EvalFID, "FID")
	named(train.EvalKID, "KID")
	named(train.EvalBPD, "held-out bits/dim")
	if len(list) == 0 {
		named("loss", "training loss")
	}
	return list
}

// diffusersAdvice names the flag that avoids what UNet2DModel cannot represent.
func diffusersAdvice(err error) string {
	var other *checkpoint.NetworkError
	if errors.As(err, &other) {
		return fmt.Sprintf("--%s %v --init-from names a network that computes with these weights as diffusers does", strings.ReplaceAll(other.Setting, "_", "-"), other.Want)
	}
	var refused *diffusers.UnsupportedError
	if !errors.As(err, &refused) {
		return ""
	}
	switch refused.Setting {
	case "num-heads":
		return "networks of iddpm train --num-head-channels 64, which replaces --num-heads, can be exported"
	case "channel-mult":
		return "networks of iddpm train --channel-mult 1,2,2 and the like can be exported"
	}
	return ""
}
