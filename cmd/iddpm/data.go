package main

import (
	urfave "github.com/urfave/cli/v2"
)

func (p *program) dataCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "data",
		Usage:     "inspect image data sets, and pack them for training",
		UsageText: "iddpm data info|prepare ...",
		Description: `Accepts any source that train accepts for --data-dir: a folder at any depth, a zip, a zip of
NVlabs/edm, an .npz of samples, CIFAR-10 and CIFAR-100 as downloaded, downsampled ImageNet, MNIST's
idx files, LSUN's LMDB, and Hugging Face's Parquet files and webdataset's tars, one or a folder of them.

Examples:
  iddpm data info photos -o sheet.png
  iddpm data prepare photos photos-64.zip --image-size 64
  iddpm data info imagenet-1k --split validation
  iddpm data prepare cifar-10-python.tar.gz cifar10-test.zip --image-size 32 --split test --class-cond`,
		HideHelpCommand: true,
		Subcommands:     []*urfave.Command{p.dataInfoCommand(), p.dataPrepareCommand()},
	}
}
