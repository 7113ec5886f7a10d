package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"

	urfave "github.com/urfave/cli/v2"
	"go.uber.org/zap"

	"iddpm/internal/cli"
	"iddpm/internal/runs"
	"iddpm/watch"
)

// watchOptions are the flags of watch.
type watchOptions struct {
	address string
	token   string
}

func (o *watchOptions) options() []cli.Option {
	return []cli.Option{
		{Name: "addr", Category: cli.CategoryRun, Value: &o.address, Usage: "listen on `HOST:PORT`; port 0 is a free one"},
		{Name: "token", Category: cli.CategoryRun, Value: &o.token, Usage: "require `TOKEN` of every browser; needed for a HOST other than this machine's own"},
	}
}

func (p *program) watchCommand() *urfave.Command {
	o := &watchOptions{address: defaultWatchAddress}
	return &urfave.Command{
		Name:      "watch",
		Usage:     "show training runs on a web page while they train",
		UsageText: "iddpm watch [RUN_DIR...] [FLAGS]",
		Description: `Serves one web page with the metrics, sample grids, state, time left and warnings of the runs, and
the settings that differ between them. The page follows growing runs. RUN_DIR is a run folder, a
folder of run folders (default: runs, if there is one, else the working directory), or a URL
(s3://, gs://, file://). The page needs no network, and the command changes no run.

It listens on this machine alone. For another address set --token, and put a proxy with TLS in
front where the network is not trusted.

Examples:
  iddpm watch
  iddpm watch runs/001-emoji runs/002-emoji
  iddpm watch s3://bucket/runs/one --addr 0.0.0.0:6060 --token "$(openssl rand -hex 16)"`,
		Flags:           cli.FlagsOf(o.options()...),
		HideHelpCommand: true,
		Action:          p.watch,
	}
}

func (p *program) watch(c *urfave.Context) error {
	o := &watchOptions{address: defaultWatchAddress}
	if err := cli.Apply(c, o.options()); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	paths := c.Args().Slice()
	if len(paths) == 0 {
		paths = []string{defaultWatched()}
	}
	s := p.newSession(false, false)
	w, err := watch.New(paths, watch.Options{})
	if err != nil {
		return err
	}
	return errors.Join(s.serveWatch(c.Context, w, o), w.Close())
}

// defaultWatched returns the folder in which train makes run folders, or else the working directory.
func defaultWatched() string {
	if about, err := os.Stat(runs.DefaultParent); err == nil && about.IsDir() {
		return runs.DefaultParent
	}
	return "."
}

// check refuses addresses that others can reach without a token.
func (o *watchOptions) check() error {
	host, _, err := net.SplitHostPort(o.address)
	if err != nil {
		return cli.Errorf("--addr %s: write HOST:PORT, such as %s", o.address, defaultWatchAddress)
	}
	if ip := net.ParseIP(host); o.token == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return cli.Errorf("--addr %s can be reached from other machines: set --token, or listen on 127.0.0.1", o.address)
	}
	return nil
}

// serveWatch serves the page until the context is done, which is the ordinary end.
func (s *session) serveWatch(ctx context.Context, w *watch.Watcher, o *watchOptions) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w (choose another address by --addr)", o.address, err)
	}
	s.log.Info("watching: open the page in a browser, end by Ctrl-C", zap.Stringer("page", watchPage(listener.Addr(), o.token)))
	return serve(ctx, listener, w.Handler(o.token))
}

// watchPage returns the URL for browsers of a page served at an address. That of all interfaces is
// no URL: the machine's name is.
func watchPage(at net.Addr, token string) *url.URL {
	page := &url.URL{Scheme: "http", Host: at.String(), Path: "/"}
	if tcp, ok := at.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			page.Host = net.JoinHostPort(name, strconv.Itoa(tcp.Port))
		}
	}
	if token != "" {
		page.RawQuery = url.Values{"token": {token}}.Encode()
	}
	return page
}
