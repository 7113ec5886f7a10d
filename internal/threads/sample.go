package threads

import (
	"fmt"
	"time"

	"github.com/prometheus/procfs"
)

// ticksPerSecond is Linux's USER_HZ, the unit of a process's CPU times.
const ticksPerSecond = 100

// readSample reads a sample from Linux's /proc. Processes of lower priority do not slow
// this one down, so the time of niced processes counts only if this one is niced.
func readSample(proc procfs.FS, now time.Time) (Sample, error) {
	machine, err := proc.Stat()
	if err != nil {
		return Sample{}, err
	}
	self, err := proc.Self()
	if err != nil {
		return Sample{}, err
	}
	own, err := self.Stat()
	if err != nil {
		return Sample{}, err
	}
	status, err := self.NewStatus()
	if err != nil {
		return Sample{}, err
	}
	s := Sample{At: now}
	seconds := -float64(own.UTime+own.STime) / ticksPerSecond
	for _, core := range status.CpusAllowedList {
		cpu, ok := machine.CPU[int64(core)]
		if !ok {
			continue
		}
		s.Cores++
		seconds += cpu.User + cpu.System + cpu.IRQ + cpu.SoftIRQ + cpu.Steal
		if own.Nice > 0 {
			seconds += cpu.Nice
		}
	}
	if s.Cores == 0 {
		return s, fmt.Errorf("/proc/stat lists none of the cores %v", status.CpusAllowedList)
	}
	s.Others = time.Duration(seconds * float64(time.Second))
	return s, nil
}
