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

// Peers are the processes that train one run together: each works on its share of
// every batch, and all hold the same weights. The one of rank 0 leads: it alone
// has the run folder. A nil *Peers is a process by itself.
//
// All peers call the methods in the same order. Where one of the processes has
// gone they panic with a [*gotorch.Error], which [Trainer] turns into an error.
type Peers struct {
	group *gotorch.ProcessGroup
	here  int // how many of them are on this machine
}

// NewPeers returns the peers of a group, of which so many are on this machine.
func NewPeers(group *gotorch.ProcessGroup, here int) *Peers { return &Peers{group, here} }

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

// Leads reports whether this process has the run folder.
func (p *Peers) Leads() bool { return p.Rank() == 0 }

// cores returns how many cores of this machine there are for this process.
func (p *Peers) cores() int {
	if p == nil {
		return runtime.NumCPU()
	}
	return max(1, runtime.NumCPU()/p.here)
}

// Threads returns how many threads a process should have for itself where nobody has
// said it: 0, libtorch's own choice, unless several share the machine's cores.
func (p *Peers) Threads() int {
	if p.cores() == runtime.NumCPU() || os.Getenv("OMP_NUM_THREADS") != "" {
		return 0
	}
	return p.cores()
}

// PeerError says that another process of the run has failed; that one says why.
type PeerError struct{ Rank int }

func (e *PeerError) Error() string {
	return fmt.Sprintf("process %d of the run has failed: see what it says", e.Rank)
}

// Together returns an error in all processes if there is one in any: its own where
// there is one that no process before it has, too, else a [*PeerError].
func (p *Peers) Together(mine error) error {
	if p == nil {
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
	return mine
}

// LeaderFirst has all processes do what the leading one has done without error: what it
// has fetched is then there.
func (p *Peers) LeaderFirst(f func() error) error {
	var err error
	if p.Leads() {
		err = f()
	}
	if err = p.Together(err); err != nil || p == nil {
		return err
	}
	if !p.Leads() {
		err = f()
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
		return mine
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

// follow sets v, a pointer, to what the leading process has there.
func (p *Peers) follow(v any) error {
	if p == nil {
		return nil
	}
	var mine bytes.Buffer
	if p.Leads() {
		if err := gob.NewEncoder(&mine).Encode(v); err != nil {
			return err
		}
	}
	text := p.texts(mine.String())[0]
	if p.Leads() {
		return nil
	}
	return gob.NewDecoder(strings.NewReader(text)).Decode(v)
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

// LostTouch says of the error of a call that all processes were to join in what it
// means, and leaves the group: a GPU would wait for the others for ever. Other errors it
// returns as they are.
func (p *Peers) LostTouch(err error) error {
	var e *gotorch.Error
	if p == nil || !errors.As(err, &e) || !strings.HasPrefix(e.Op, "ProcessGroup.") {
		return err
	}
	p.group.Close(true)
	return fmt.Errorf("lost touch with the run's other processes, of which one has stopped or hangs: its own last words say why: %w", err)
}
