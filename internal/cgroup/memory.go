package cgroup

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// unknownMemory is the assumed free memory if the system does not report it.
const unknownMemory = 2 << 30

// FreeMemory returns how many bytes this process may still allocate: the machine's
// available memory, or less if its control group has a limit. root is the root file system.
//
// Libraries that read the group's limit (automemlimit) do not report how much of it is
// in use by the processes of the group.
func FreeMemory(root fs.FS) int64 {
	free := int64(unknownMemory)
	if kib, ok := fieldOf(root, "proc/meminfo", "MemAvailable:"); ok {
		free = kib << 10
	}
	v2, v1 := Folders(root, "memory")
	return min(free, groupFilesV2.free(root, v2), groupFilesV1.free(root, v1))
}

// groupFiles are the names of a control group's files.
type groupFiles struct{ limit, used, cached string }

var (
	groupFilesV2 = groupFiles{"memory.max", "memory.current", "inactive_file"}
	groupFilesV1 = groupFiles{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}
)

// free returns how many bytes the groups of these folders have left.
func (h groupFiles) free(root fs.FS, folders []string) int64 {
	free := int64(math.MaxInt64)
	for _, folder := range folders {
		limit, err1 := strconv.ParseInt(text(root, path.Join(folder, h.limit)), 10, 64) // v2 writes max for none
		used, err2 := strconv.ParseInt(text(root, path.Join(folder, h.used)), 10, 64)
		if err1 == nil && err2 == nil {
			// The kernel evicts inactive cached files before it refuses memory.
			cached, _ := fieldOf(root, path.Join(folder, "memory.stat"), h.cached)
			free = min(free, max(limit-max(used-cached, 0), 0))
		}
	}
	return free
}

// fieldOf returns the number after a name in a file of lines "NAME NUMBER".
func fieldOf(root fs.FS, file, name string) (int64, bool) {
	for line := range strings.Lines(text(root, file)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			v, err := strconv.ParseInt(f[1], 10, 64)
			return v, err == nil
		}
	}
	return 0, false
}
