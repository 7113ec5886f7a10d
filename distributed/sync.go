package distributed

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// SyncError makes an error of one process an error of all. It returns nil if no process
// has an error, else an [*Error]: with the process's own error, or with the rank of
// another one if this one has none, or if a lower rank has the same error.
func (g *Group) SyncError(mine error) error {
	if g == nil || g.Lost() {
		return mine
	}
	text := ""
	if mine != nil {
		text = "failed: " + mine.Error()
	}
	all, err := g.gatherTexts(text)
	if err != nil {
		return errors.Join(mine, err)
	}
	said := func(other string) bool { return other != "" }
	if mine != nil {
		said = func(other string) bool { return other == text }
	}
	if rank := slices.IndexFunc(all, said); rank >= 0 && rank != g.Rank() {
		return &Error{Rank: rank}
	}
	return g.synced(mine)
}

// SyncStop is [Group.SyncError] for every step: it sends a number instead of texts. It
// returns nil if all processes continue, an [*Error] if one has failed, and else
// [context.Canceled] if ctx has ended in one of them.
func (g *Group) SyncStop(ctx context.Context, mine error) error {
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
	all := []int64{state}
	if g != nil {
		if err := g.inScope(func() { all = g.gatherNumbers(state) }); err != nil {
			return err
		}
	}
	switch worst := slices.Max(all); {
	case worst == failed && state == failed:
		return g.synced(mine)
	case worst == failed:
		return &Error{Rank: slices.Index(all, failed)}
	case worst == interrupted:
		return context.Canceled
	}
	return nil
}

// SyncResult is [Group.SyncStop] after work whose result is worth keeping: a process by itself
// returns its own error, even if ctx has ended meanwhile.
func (g *Group) SyncResult(ctx context.Context, mine error) error {
	if g == nil {
		return mine
	}
	return g.SyncStop(ctx, mine)
}

// OnLeader runs f only on rank 0, for work on files, and returns its error in all
// processes, as [Group.SyncError] does.
func (g *Group) OnLeader(f func() error) error {
	var err error
	if g.IsLeader() {
		err = f()
	}
	return g.SyncError(err)
}

// LeaderFirst runs f on rank 0 and, if that succeeds, on the other ranks: files that
// rank 0 has downloaded are then available.
func (g *Group) LeaderFirst(f func() error) error {
	if err := g.OnLeader(f); err != nil || g == nil {
		return err
	}
	var err error
	if !g.IsLeader() {
		err = f()
	}
	return g.SyncError(err)
}

// CheckSame returns an error in all processes if a value differs from rank 0's in any of
// them. what names the value in the error.
func (g *Group) CheckSame(what, mine string) error {
	if g == nil {
		return nil
	}
	all, err := g.gatherTexts(mine)
	if err == nil && all[g.Rank()] != all[0] {
		err = fmt.Errorf("the %s is not that of process 0: all processes need the same", what)
	}
	return g.SyncError(err)
}
