package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"iddpm/evaluate"
	"iddpm/internal/cli"
)

// inceptionWeights returns the path of the Inception network's weights on this machine. It downloads
// them if they are missing. flag is the one that names another file.
func (s *session) inceptionWeights(ctx context.Context, flag string) (string, error) {
	file, err := evaluate.WeightsPath()
	if err != nil {
		return "", fmt.Errorf("there is no cache folder for the Inception network's weights: download %s and name it by %s (%w)", evaluate.WeightsURL, flag, err)
	}
	if cli.Exists(file) {
		return file, nil
	}
	s.log.Info("downloading the Inception network's weights, once", zap.String("from", evaluate.WeightsURL), zap.String("to", file))
	err = evaluate.DownloadWeights(ctx, file, func(done, of int64) { s.screen.Show(int(done>>20), int(of>>20), "MiB of weights ") })
	s.screen.Done()
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("cannot download the Inception network's weights: copy %s to this machine and name it by %s (%w)", evaluate.WeightsURL, flag, err)
	}
	return file, err
}
