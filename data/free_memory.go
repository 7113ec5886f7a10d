package data

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"

	"iddpm/internal/cgroup"
)

// unknownMemory is what is taken to be free where the system does not say.
const unknownMemory = 2 << 30

// freeMemory returns how many bytes this process may still take: what the machine has,
// or what its control group leaves it. root is the file system's root.
//
// Libraries that look for the group's limit (automemlimit) do not say how much of it is
// in use, which a group shares among its processes.
func freeMemory(root fs.FS) int64 {
	free := int64(unknownMemory)
	if kib, ok := fieldOf(root, "proc/meminfo", "MemAvailable:"); ok {
		free = kib << 10
	}
	v2, v1 := cgroup.Folders(root, "memory")
	return min(free, groupFilesV2.free(root, v2), groupFilesV1.free(root, v1))
}

// groupFiles are the names of a control group's files.
type groupFiles struct{ limit, used, cached string }

var (
	groupFilesV2 = groupFiles{"memory.max", "memory.current", "inactive_file"}
	groupFilesV1 = groupFiles{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
)

// free returns how many bytes the groups of these folders leave.
func (h groupFiles) free(root fs.FS, folders []string) int64 {
	free := int64(math.MaxInt64)
	for _, folder := range folders {
		limit, err1 := strconv.ParseInt(readText(root, path.Join(folder, h.limit)), 10, 64) // v2 writes max for none
		used, err2 := strconv.ParseInt(readText(root, path.Join(folder, h.used)), 10, 64)
		if err1 == nil && err2 == nil {
			// The kernel gives up the files it has not read of late before it refuses memory.
			cached, _ := fieldOf(root, path.Join(folder, "memory.stat"), h.cached)
			free = min(free, max(limit-max(used-cached, 0), 0))
		}
	}
	return free
}

// fieldOf returns the number after a name in a file of lines of both.
func fieldOf(root fs.FS, file, name string) (int64, bool) {
	for line := range strings.Lines(readText(root, file)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			v, err := strconv.ParseInt(f[1], 10, 64)
			return v, err == nil
		}
	}
	return 0, false
}

// readText returns what a file holds, nothing where it cannot be read.
func readText(root fs.FS, file string) string {
	b, err := fs.ReadFile(root, file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
