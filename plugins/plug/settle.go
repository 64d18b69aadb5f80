package plug

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"tuplenet/flows/compile"
	"tuplenet/model"
	"tuplenet/model/store"
)

// askAll is up to how many live hosts are all asked for a receipt. Each answer is a write into the store: cheap in a small fleet, while
// in a large one it is cheaper to find out who is concerned.
const askAll = 16

// Settle waits until a port that was plugged works: this host's daemon has bound it, and all live hosts have applied that, so
// that the first packet to or from it is delivered. The daemon of this host may take until ctx ends, other hosts as long as
// others says. If the port is not bound by then the error is ErrNotReady. Other hosts that are late are in the receipt: one
// broken host must not keep containers on all others from starting.
func Settle(ctx context.Context, st *store.Store, port, chassis string, others time.Duration) (store.Receipt, error) {
	rev, err := st.AwaitBinding(ctx, port, chassis)
	if err != nil {
		return store.Receipt{}, fmt.Errorf("%w: %w: is its daemon (tuplenet) running? Its log and `tpctl ch show` say more", ErrNotReady, err)
	}
	wait := store.Wait{ID: "plug-" + hex.EncodeToString(randomBytes()), Revision: rev, Limit: others}
	if wait.Chassis, err = concerned(ctx, st, port, rev, askAll); err != nil {
		return store.Receipt{}, fmt.Errorf("find whom port %s concerns: %w", port, err)
	}
	receipt, err := st.Await(ctx, wait)
	if err != nil {
		return receipt, fmt.Errorf("wait for receipts of port %s: %w", port, err)
	}
	own := func(l store.Laggard) bool { return l.Chassis == chassis }
	if !slices.ContainsFunc(receipt.Laggards, own) {
		return receipt, nil
	}
	if !appliesYet(ctx, st, chassis, rev) {
		return receipt, fmt.Errorf("%w: port %s is bound, but chassis %s has not applied that in time", ErrNotReady, port, chassis)
	}
	receipt.Laggards = slices.DeleteFunc(receipt.Laggards, own)
	receipt.Applied++
	return receipt, nil
}

// appliesYet waits until ctx ends for a host that is late.
func appliesYet(ctx context.Context, st *store.Store, chassis string, rev int64) bool {
	end, ok := ctx.Deadline()
	if !ok {
		return false
	}
	receipt, err := st.Await(ctx, store.Wait{ID: "plug-" + hex.EncodeToString(randomBytes()), Revision: rev, Chassis: []string{chassis}, Limit: time.Until(end)})
	return err == nil && len(receipt.Laggards) == 0
}

// concerned are the chassis for which something may change by a binding that was written at a revision; nil for all that live, if those are few
// or it cannot be told.
func concerned(ctx context.Context, st *store.Store, port string, rev int64, few int) ([]string, error) {
	live, err := st.Live(ctx)
	if err != nil || len(live) <= few {
		return nil, err
	}
	d, ok, err := st.Around(ctx, rev-1, rev, []model.Ref{{Kind: model.KindBinding, Name: port}})
	if err != nil || !ok {
		return nil, err
	}
	names := compile.Affected(compile.Sight(d.Old), compile.Sight(d.New), d.Differ)
	names = slices.DeleteFunc(names, func(name string) bool { _, alive := live[name]; return !alive })
	return names, nil
}

func randomBytes() []byte {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return b
}
