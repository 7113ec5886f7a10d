// Package cgroup reads the CPU and memory limits of this process's Linux control groups,
// such as docker run --cpus or --memory: cgroup v2, v1, and hybrid. FreeMemory adds what the
// machine has.
package cgroup

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// mount is the mount point of cgroup v2, and the parent of v1's controllers.
const mount = "sys/fs/cgroup"

// Folders returns the folders that may contain a controller's limits on this process,
// below the root file system root: those of its group and of all parent groups. In a
// container /proc may show the host's group name, for which there is no folder; the
// container's group is then the root of the hierarchy. v2 and v1 have different file
// names; a folder need not exist.
func Folders(root fs.FS, controller string) (v2, v1 []string) {
	for line := range strings.Lines(text(root, "proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, group
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "" {
			v2 = append(v2, upwards(mount, parts[2])...)
		}
		for _, name := range strings.Split(parts[1], ",") {
			if name == controller {
				v1 = append(v1, upwards(path.Join(mount, name), parts[2])...)
				if parts[1] != name { // such as cpu,cpuacct, to which the single names are links
					v1 = append(v1, upwards(path.Join(mount, parts[1]), parts[2])...)
				}
			}
		}
	}
	return v2, v1
}

// upwards returns the folders of a group and of its parents.
func upwards(hierarchy, group string) (folders []string) {
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		folders = append(folders, path.Join(hierarchy, group))
		if group == "/" {
			return folders
		}
	}
}

// CPUQuota returns the CPU quota of this process in CPUs, such as 1.5, or +Inf if no
// group limits it. root is the root file system.
func CPUQuota(root fs.FS) float64 {
	quota := math.Inf(1)
	v2, v1 := Folders(root, "cpu")
	for _, folder := range v2 {
		if fields := strings.Fields(text(root, path.Join(folder, "cpu.max"))); len(fields) == 2 { // "max 100000": no quota
			quota = min(quota, share(fields[0], fields[1]))
		}
	}
	for _, folder := range v1 { // -1: no quota
		quota = min(quota, share(text(root, path.Join(folder, "cpu.cfs_quota_us")), text(root, path.Join(folder, "cpu.cfs_period_us"))))
	}
	return quota
}

// share returns quota / period, both in microseconds.
func share(quota, period string) float64 {
	q, err1 := strconv.ParseInt(quota, 10, 64)
	p, err2 := strconv.ParseInt(period, 10, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return math.Inf(1)
	}
	return float64(q) / float64(p)
}

// text returns a file's content, or "" if it cannot be read.
func text(root fs.FS, file string) string {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
