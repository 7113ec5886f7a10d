package train

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/wangkuiyi/gotorch"
)

// Peers are the processes that work on the same together: each on its share of every
// batch, and with the same weights. The one of rank 0 leads: it alone has the run
// folder. A nil *Peers is a process by itself.
//
// All peers call the methods in the same order. Where one of the processes has
// gone they panic with a [*gotorch.Error], which [Trainer] turns into an error.
type Peers struct {
	group *gotorch.ProcessGroup
	here  int  // how many of them are on this machine
	lost  bool // one has gone, and nobody answers any more
}

// NewPeers returns the peers of a group, of which so many are on this machine.
func NewPeers(group *gotorch.ProcessGroup, here int) *Peers { return &Peers{group: group, here: here} }

// UseGPU tells the peers on which GPU this one works. All do so, or none.
func (p *Peers) UseGPU(d gotorch.Device) { p.group.UseGPU(d) }

// Rank returns which of the processes this is, from 0.
func (p *Peers) Rank() int {
	if p == nil {
		return 0
	}
	return p.group.Rank()
}

// Size returns how many processes there are.
func (p *Peers) Size() int {
	if p == nil {
		return 1
	}
	return p.group.Size()
}

// Close leaves the group, unless touch with the others was lost: a GPU may then be
// waiting for them, and Close would wait for it.
func (p *Peers) Close() {
	if p != nil && !p.lost {
		p.group.Close()
	}
}

// Leads reports whether this process has the run folder.
func (p *Peers) Leads() bool { return p.Rank() == 0 }

// cores returns how many cores of this machine there are for this process.
func (p *Peers) cores() int {
	if p == nil {
		return runtime.NumCPU()
	}
	return max(1, runtime.NumCPU()/p.here)
}

// SetThreads sets how many threads work on the CPU and returns how many there are: n,
// or where that is 0 this process's share of the cores.
func (p *Peers) SetThreads(n int) int {
	if n == 0 && p.cores() < runtime.NumCPU() && os.Getenv("OMP_NUM_THREADS") == "" {
		n = p.cores()
	}
	if n > 0 {
		gotorch.SetNumThreads(int32(n))
	}
	return int(gotorch.GetNumThreads())
}

// PeerError says that another process of the run has failed; that one says why.
type PeerError struct{ Rank int }

func (e *PeerError) Error() string {
	return fmt.Sprintf("process %d of the run has failed: see what it says", e.Rank)
}

// Together returns an error in all processes if there is one in any: its own where
// there is one that no process before it has, too, else a [*PeerError].
func (p *Peers) Together(mine error) error {
	if p == nil || p.lost {
		return mine
	}
	text := ""
	if mine != nil {
		text = "failed: " + mine.Error()
	}
	all, err := p.Exchange(text)
	if err != nil {
		return errors.Join(mine, err)
	}
	said := func(text string) bool { return text != "" }
	if mine != nil {
		said = func(other string) bool { return other == text }
	}
	if rank := slices.IndexFunc(all, said); rank >= 0 && rank != p.Rank() {
		return &PeerError{rank}
	}
	return agreed(mine)
}

// agreedError is a process's own error of which the others know.
type agreedError struct{ error }

func agreed(err error) error {
	if err == nil {
		return nil
	}
	return agreedError{err}
}

// Unwrap returns the error.
func (e agreedError) Unwrap() error { return e.error }

// Agreed reports whether all processes know of an error, so that none waits for this one
// where it has stopped.
func Agreed(err error) bool {
	var own agreedError
	var other *PeerError
	return errors.As(err, &own) || errors.As(err, &other) || errors.Is(err, ErrInterrupted)
}

// Lead has the leading process do what concerns files, and all learn whether it went
// well.
func (p *Peers) Lead(f func() error) error {
	var err error
	if p.Leads() {
		err = f()
	}
	return p.Together(err)
}

// LeaderFirst has all processes do what the leading one has done without error: what it
// has fetched is then there.
func (p *Peers) LeaderFirst(f func() error) error {
	if err := p.Lead(f); err != nil || p == nil {
		return err
	}
	var err error
	if !p.Leads() {
		err = f()
	}
	return p.Together(err)
}

// Same refuses values that are not the leading process's, in all processes. what names
// the value in the error.
func (p *Peers) Same(what, mine string) error {
	all, err := p.Exchange(mine)
	if err == nil && all[p.Rank()] != all[0] {
		err = fmt.Errorf("the %s is not that of process 0: all processes need the same", what)
	}
	return p.Together(err)
}

// Agree returns nil if all processes go on. Else it returns in all of them why they
// stop: their own error, a [*PeerError], or [ErrInterrupted] where ctx has ended in one
// of them. It must run on the tensor thread.
func (p *Peers) Agree(ctx context.Context, mine error) error {
	const (
		goesOn = iota
		interrupted
		failed
	)
	state := int64(goesOn)
	if ctx.Err() != nil {
		state = interrupted
	} else if mine != nil {
		state = failed
	}
	all := p.numbers(state)
	switch worst := slices.Max(all); {
	case worst == failed && state == failed:
		return agreed(mine)
	case worst == failed:
		return &PeerError{slices.Index(all, failed)}
	case worst == interrupted:
		return ErrInterrupted
	}
	return nil
}

// Exchange returns what each process has to say, by rank.
func (p *Peers) Exchange(mine string) (all []string, err error) {
	if p == nil {
		return []string{mine}, nil
	}
	err = p.onTensorThread(func() { all = p.texts(mine) })
	return all, p.LostTouch(err)
}

func (p *Peers) onTensorThread(f func()) error {
	return gotorch.Try(func() { gotorch.Run(func() { gotorch.Scope(f) }) })
}

// numbers returns each process's number, by rank.
func (p *Peers) numbers(mine int64) (all []int64) {
	if p == nil {
		return []int64{mine}
	}
	gotorch.Scope(func() { all = p.group.AllGather(gotorch.FromInt64s([]int64{mine})).Int64s() })
	return all
}

// texts returns each process's text, by rank. They are sent as long as the longest.
func (p *Peers) texts(mine string) []string {
	if p == nil {
		return []string{mine}
	}
	lengths := p.numbers(int64(len(mine)))
	longest := slices.Max(lengths)
	padded := append([]byte(mine), make([]byte, int(longest)-len(mine)+1)...)
	all := make([]string, len(lengths))
	gotorch.Scope(func() {
		rows := p.group.AllGather(gotorch.FromBytes(padded, gotorch.Byte, longest+1))
		for rank, n := range lengths {
			all[rank] = string(rows.Select(0, int64(rank)).Bytes()[:n])
		}
	})
	return all
}

// Everyones returns each process's value, by rank. It must run on the tensor thread.
func Everyones[T any](p *Peers, mine T) ([]T, error) {
	if p == nil {
		return []T{mine}, nil
	}
	var text bytes.Buffer
	err := gob.NewEncoder(&text).Encode(mine)
	all := make([]T, p.Size())
	for rank, text := range p.texts(text.String()) {
		if e := gob.NewDecoder(strings.NewReader(text)).Decode(&all[rank]); err == nil {
			err = e
		}
	}
	return all, err
}

// Leaders returns the leading process's value. It must run on the tensor thread.
func Leaders[T any](p *Peers, mine T) (T, error) {
	if p == nil {
		return mine, nil
	}
	var text bytes.Buffer
	var err error
	if p.Leads() {
		err = gob.NewEncoder(&text).Encode(mine)
	}
	var theirs T // not mine: what is zero there would stay as it is here
	if e := gob.NewDecoder(strings.NewReader(p.texts(text.String())[0])).Decode(&theirs); err == nil {
		err = e
	}
	return theirs, err
}

// sum sets every tensor to the sum of all processes'.
func (p *Peers) sum(list []gotorch.Tensor) {
	if p != nil {
		p.group.AllReduceI(list)
	}
}

// followTensors sets every tensor to the leading process's.
func (p *Peers) followTensors(list []gotorch.Tensor) {
	if p != nil {
		gotorch.NoGrad(func() { p.group.BroadcastI(list, 0) })
	}
}

// ErrLostTouch says that another process is gone, or hangs.
var ErrLostTouch = errors.New("lost touch with the other processes, of which one has ended: its own last words say why")

// LostTouch says of the error of a call that all processes were to join in what it
// means. Other errors it returns as they are.
func (p *Peers) LostTouch(err error) error {
	var e *gotorch.Error
	if p == nil || !errors.As(err, &e) || !strings.HasPrefix(e.Op, "ProcessGroup.") || e.Op == "ProcessGroup.UseGPU" {
		return err
	}
	p.lost = true
	return fmt.Errorf("%w (%w)", ErrLostTouch, err)
}
