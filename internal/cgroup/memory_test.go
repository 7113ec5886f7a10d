package cgroup

import (
	"os"
	"testing"
	"testing/fstest"
)

func TestFreeMemory(t *testing.T) {
	const (
		machine = "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n" // 8 GiB
		nothing = "9223372036854771712"                               // v1's value for no limit
		gib     = 1 << 30
	)
	for what, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known": {nil, unknownMemory},
		"no groups":     {map[string]string{"proc/meminfo": machine}, 8 * gib},
		"no limit": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/user.slice\n",
			"sys/fs/cgroup/user.slice/memory.max": "max\n", "sys/fs/cgroup/user.slice/memory.current": "1073741824\n",
		}, 8 * gib},
		"container": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/\n",
			"sys/fs/cgroup/memory.max": "4294967296\n", "sys/fs/cgroup/memory.current": "1073741824\n",
		}, 3 * gib},
		"slice": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/system.slice/train.service\n",
			"sys/fs/cgroup/system.slice/train.service/memory.max": "2147483648\n", "sys/fs/cgroup/system.slice/train.service/memory.current": "1073741824\n",
			"sys/fs/cgroup/system.slice/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.current": "2147483648\n",
		}, 1 * gib},
		"tighter above": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/job_1/step_0/user/task_0\n",
			"sys/fs/cgroup/job_1/step_0/user/task_0/memory.max": "max\n", "sys/fs/cgroup/job_1/step_0/user/task_0/memory.current": "0\n",
			"sys/fs/cgroup/job_1/step_0/memory.max": "6442450944\n", "sys/fs/cgroup/job_1/step_0/memory.current": "0\n",
			"sys/fs/cgroup/job_1/memory.max": "4294967296\n", "sys/fs/cgroup/job_1/memory.current": "2147483648\n",
		}, 2 * gib},
		"files that can be given up": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "4294967296\n", "sys/fs/cgroup/a/memory.current": "4294967296\n",
			"sys/fs/cgroup/a/memory.stat": "anon 1073741824\ninactive_file 3221225472\n",
		}, 3 * gib},
		"used up": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/a\n",
			"sys/fs/cgroup/a/memory.max": "1073741824\n", "sys/fs/cgroup/a/memory.current": "2147483648\n",
		}, 0},
		"v1": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "4:memory:/slurm/job_1\n1:cpu,cpuacct:/\n0::/\n",
			"sys/fs/cgroup/memory/slurm/job_1/memory.limit_in_bytes": "2147483648\n", "sys/fs/cgroup/memory/slurm/job_1/memory.usage_in_bytes": "2147483648\n",
			"sys/fs/cgroup/memory/slurm/job_1/memory.stat": "inactive_file 0\ntotal_inactive_file 1073741824\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   nothing, "sys/fs/cgroup/memory/memory.usage_in_bytes": "0\n",
		}, 1 * gib},
		"v1, container that knows its outer name": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "4:memory:/docker/1234\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "0\n",
		}, 2 * gib},
		"path out of the root": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/../..\nno group\n",
			"sys/fs/cgroup/memory.max": "2147483648\n", "sys/fs/cgroup/memory.current": "0\n",
		}, 2 * gib},
		"a colon in the name": {map[string]string{
			"proc/meminfo": machine, "proc/self/cgroup": "0::/a:b\n",
			"sys/fs/cgroup/a:b/memory.max": "2147483648\n", "sys/fs/cgroup/a:b/memory.current": "0\n",
		}, 2 * gib},
	} {
		root := fstest.MapFS{}
		for name, text := range c.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := FreeMemory(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", what, got, c.want)
		}
	}
	if free := FreeMemory(os.DirFS("/")); free <= 0 {
		t.Errorf("this machine: %d bytes", free)
	}
}
