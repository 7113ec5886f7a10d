package distributed

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// Start starts a group of n processes on this machine, like torchrun, and returns them by
// rank. command returns the command of one process, to which Start adds the variables for
// [FromEnvironment]. If one cannot be started, the earlier ones are killed.
//
// Signals of the terminal, such as Ctrl-C, do not reach the processes: forward them. The
// processes are interrupted when the OS thread that started them ends, so call
// [runtime.LockOSThread] before, and wait for them.
func Start(n int, command func() *exec.Cmd) ([]*exec.Cmd, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the processes have no place to meet: %w", err)
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return nil, fmt.Errorf("the processes have no place to meet: %w", err)
	}
	defer socket.Close()
	var started []*exec.Cmd
	for rank := range n {
		c := command()
		at := Placement{Rank: rank, WorldSize: n, LocalRank: rank, LocalWorldSize: n, MasterAddr: "127.0.0.1", MasterPort: listener.Addr().(*net.TCPAddr).Port}
		at.place(c, socket)
		if err := c.Start(); err != nil {
			kill(started)
			return nil, fmt.Errorf("cannot start a process: %w", err)
		}
		started = append(started, c)
	}
	return started, nil
}

// place gives a command its variables, and that of rank 0 the socket that listens on
// MasterPort.
func (p Placement) place(c *exec.Cmd, socket *os.File) {
	set := func(name, value string) { c.Env = append(c.Env, name+"="+value) }
	number := func(name string, value int) { set(name, strconv.Itoa(value)) }
	c.Env = c.Environ()
	number("RANK", p.Rank)
	number("WORLD_SIZE", p.WorldSize)
	number("LOCAL_RANK", p.LocalRank)
	number("LOCAL_WORLD_SIZE", p.LocalWorldSize)
	set(masterAddr, p.MasterAddr)
	number(masterPort, p.MasterPort)
	set(agentStore, "False") // this one may be a torchrun's only process
	set(restartCount, "0")
	if p.Rank == 0 {
		c.ExtraFiles = []*os.File{socket}
		set(MasterSocket, "3")
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// kill kills processes.
func kill(all []*exec.Cmd) {
	for _, c := range all {
		c.Process.Kill()
		c.Wait()
	}
}
