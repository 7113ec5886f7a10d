package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// defaultWatchAddress is where the page of iddpm watch is served.
const defaultWatchAddress = "127.0.0.1:6060"

// serve serves HTTP until the context is done, which is the ordinary end.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }, // ends event streams
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("the server has ended: %w", err)
	case <-ctx.Done():
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return server.Shutdown(closing)
	}
}
