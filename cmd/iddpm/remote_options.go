package main

import (
	"iddpm/internal/cli"
	"iddpm/internal/runs"
)

// remoteOptions are the flags of commands that accept URLs.
type remoteOptions struct{ cache string }

func (o *remoteOptions) options() []cli.Option {
	return []cli.Option{{Name: "remote-cache", Category: cli.CategoryRun, Local: true, Value: &o.cache, Standard: "iddpm/remote in the user's cache folder",
		Usage: "cache local copies of s3://, gs:// and file:// URLs in `DIR`"}}
}

// remotes returns remotes that log to the session's screen.
func (s *session) remotes(o remoteOptions) *runs.Remotes {
	return &runs.Remotes{Cache: o.cache, Log: s.log}
}
