package host

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// InContainer reports whether this process runs in a container: of Docker, Podman or
// Kubernetes, or of a runtime or image that sets the variable `container`, as this
// project's images do. root is the root of the file system.
func InContainer(root fs.FS, env func(name string) (string, bool)) bool {
	for _, marker := range []string{".dockerenv", "run/.containerenv"} {
		if _, err := fs.Stat(root, marker); err == nil {
			return true
		}
	}
	_, pod := env("KUBERNETES_SERVICE_HOST")
	_, named := env("container")
	return pod || named
}

// MountedAtRoot returns the absolute path of a file that is named as if the working folder were
// the root, as in docker run -v "$PWD/ckpt.pt:/ckpt.pt" iddpm resume ckpt.pt. A name of what is
// there, or of what is in neither folder, it returns as it is. root is the file system's root.
func MountedAtRoot(root fs.FS, name string) string {
	if _, err := os.Stat(name); err == nil || !filepath.IsLocal(name) {
		return name
	}
	if info, err := fs.Stat(root, path.Clean(name)); err != nil || !info.Mode().IsRegular() {
		return name
	}
	return path.Join("/", name)
}

// anonymousVolume matches where Docker, Podman and containerd keep an unnamed volume, such
// as an image's VOLUME without a mount.
var anonymousVolume = regexp.MustCompile(`/volumes/[0-9a-f]{64}(/_data)?$`)

// GoesWithContainer reports whether a folder is in the container's own file system, in
// memory, or in an unnamed volume. root is the root of the file system.
func GoesWithContainer(root fs.FS, dir string) bool {
	text, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return false
	}
	dir = resolved(dir)
	longest, lost := -1, false
	for line := range strings.Lines(string(text)) {
		// ID, parent, device, root, mount point, options, optional fields, -, type, source, options
		own, rest, ok := strings.Cut(line, " - ")
		f := strings.Fields(own)
		if !ok || len(f) < 5 {
			continue
		}
		at := mountPath.Replace(f[4])
		if len(at) < longest || !within(dir, at) {
			continue
		}
		longest = len(at)
		lost = at == "/" || strings.HasPrefix(rest, "tmpfs ") || anonymousVolume.MatchString(f[3])
	}
	return lost
}

// mountPath undoes the kernel's octal escapes in paths.
var mountPath = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// within reports whether a path is a folder or inside it.
func within(file, folder string) bool {
	return folder == "/" || file == folder || strings.HasPrefix(file, folder+"/")
}

// resolved returns the absolute path of a file, without symbolic links. The file need not
// exist.
func resolved(file string) string {
	file, err := filepath.Abs(file)
	if err != nil {
		return file
	}
	for above := file; ; above = path.Dir(above) {
		if found, err := filepath.EvalSymlinks(above); err == nil {
			return path.Join(found, strings.TrimPrefix(file, above))
		}
	}
}
