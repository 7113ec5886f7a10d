package cgroup

import (
	"math"
	"os"
	"testing"
	"testing/fstest"
)

func TestCPUQuota(t *testing.T) {
	none := math.Inf(1)
	for what, test := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"nothing known":  {nil, none},
		"v2, container":  {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5},
		"v2, no quota":   {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, none},
		"v2, outer name": {map[string]string{"proc/self/cgroup": "0::/docker/1234\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5},
		"v2, tighter above": {map[string]string{
			"proc/self/cgroup":                          "0::/kubepods.slice/pod1/main\n",
			"sys/fs/cgroup/kubepods.slice/pod1/cpu.max": "200000 100000\n", "sys/fs/cgroup/kubepods.slice/pod1/main/cpu.max": "max 100000\n",
			"sys/fs/cgroup/kubepods.slice/cpu.max": "400000 100000\n",
		}, 2},
		"v1": {map[string]string{
			"proc/self/cgroup": "4:memory:/docker/12\n3:cpu,cpuacct:/docker/12\n0::/\n",
			"sys/fs/cgroup/cpu/docker/12/cpu.cfs_quota_us": "100000\n", "sys/fs/cgroup/cpu/docker/12/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 1},
		"v1, outer name, no link": {map[string]string{
			"proc/self/cgroup":                           "3:cpu,cpuacct:/docker/12\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "25000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
		}, 0.5},
		"v1, another controller": {map[string]string{
			"proc/self/cgroup":                      "3:cpuset:/\n",
			"sys/fs/cgroup/cpuset/cpu.cfs_quota_us": "100000\n", "sys/fs/cgroup/cpuset/cpu.cfs_period_us": "100000\n",
		}, none},
		"hybrid": {map[string]string{
			"proc/self/cgroup":                   "2:cpu:/\n0::/\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 3},
		"garbled": {map[string]string{"proc/self/cgroup": "0::/../..\nno group\n", "sys/fs/cgroup/cpu.max": "0 0\n"}, none},
	} {
		root := fstest.MapFS{}
		for name, text := range test.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := CPUQuota(root); got != test.want {
			t.Errorf("%s: %g CPUs, want %g", what, got, test.want)
		}
	}
	if quota := CPUQuota(os.DirFS("/")); !(quota > 0) {
		t.Errorf("this machine: %g CPUs", quota)
	}
}
