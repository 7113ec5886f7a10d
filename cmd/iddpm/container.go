package main

import (
	"io/fs"
)

// inContainer reports whether this process runs in a container: of Docker, Podman or
// Kubernetes, or of another runtime that says so by the variable `container`, as this
// project's images do. root is the file system's root.
func inContainer(root fs.FS, env environment) bool {
	for _, marker := range []string{".dockerenv", "run/.containerenv"} {
		if _, err := fs.Stat(root, marker); err == nil {
			return true
		}
	}
	_, pod := env("KUBERNETES_SERVICE_HOST")
	_, named := env("container")
	return pod || named
}
