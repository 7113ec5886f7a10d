package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/wangkuiyi/gotorch"
	"go.uber.org/zap"

	"iddpm/internal/cli"
	"iddpm/train"
	"iddpm/train/metrics"
	"iddpm/train/metrics/exporter"
	"iddpm/watch"
)

// trainServers are what train serves beside training, on rank 0: the page of iddpm watch, and
// metrics for Prometheus.
type trainServers struct {
	watch       bool
	metricsAddr string // HOST:PORT; "": none

	exporter exporter.Exporter
	stop     context.CancelFunc
	running  sync.WaitGroup
	closers  []func() error
}

func (s *trainServers) options() []cli.Option {
	return []cli.Option{
		{Name: "watch", Category: cli.CategoryRun, Value: &s.watch, Usage: "also serve the page of iddpm watch, on this machine alone"},
		{Name: "metrics-addr", Category: cli.CategoryRun, Value: &s.metricsAddr, Usage: "also serve metrics for Prometheus at http://`HOST:PORT`/metrics"},
	}
}

// hook has a run report to the exporter.
func (s *trainServers) hook(r *train.Run) {
	if s.metricsAddr == "" {
		return
	}
	r.OnSaved = func(string) { s.exporter.Saved(time.Now()) }
	r.OnRow = func(row metrics.Row) {
		if r.Device.Type == gotorch.CUDA {
			stats := gotorch.GetCUDAMemoryStats(r.Device)
			row.Values = append(row.Values, metrics.Value{Name: "gpu_memory_bytes", Value: float64(stats.Allocated)},
				metrics.Value{Name: "gpu_memory_peak_bytes", Value: float64(stats.PeakAllocated)})
		}
		s.exporter.Set(row)
	}
}

// start starts the servers of a run folder. The caller closes them, also after an error.
func (s *trainServers) start(ctx context.Context, dir string, log *zap.Logger) error {
	ctx, s.stop = context.WithCancel(ctx)
	return errors.Join(s.startMetrics(ctx, log), s.startWatch(ctx, dir, log))
}

func (s *trainServers) startMetrics(ctx context.Context, log *zap.Logger) error {
	if s.metricsAddr == "" {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.metricsAddr)
	if err != nil {
		return fmt.Errorf("cannot serve metrics: %w (choose another address by --metrics-addr)", err)
	}
	log.Info("serving metrics for Prometheus", zap.String("url", "http://"+listener.Addr().String()+"/metrics"))
	s.run(func() error { return serve(ctx, listener, s.exporter.Handler()) }, log)
	return nil
}

// startWatch serves the page at the address of iddpm watch, or if that is in use at another port.
func (s *trainServers) startWatch(ctx context.Context, dir string, log *zap.Logger) error {
	if !s.watch {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", defaultWatchAddress)
	if err != nil {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return fmt.Errorf("cannot serve the page of --watch: %w", err)
	}
	w, err := watch.New([]string{dir}, watch.Options{})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.closers = append(s.closers, w.Close)
	log.Info("watching: open the page in a browser", zap.String("page", "http://"+listener.Addr().String()+"/"))
	s.run(func() error { return serve(ctx, listener, w.Handler("")) }, log)
	return nil
}

// run runs a server. Training continues if it fails.
func (s *trainServers) run(server func() error, log *zap.Logger) {
	s.running.Go(func() {
		if err := server(); err != nil {
			log.Error("a server beside training has ended; training continues", zap.Error(err))
		}
	})
}

// close ends the servers.
func (s *trainServers) close() (err error) {
	s.stop()
	s.running.Wait()
	for _, c := range s.closers {
		err = errors.Join(err, c())
	}
	return err
}
