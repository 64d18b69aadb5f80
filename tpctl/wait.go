package tpctl

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"tuplenet/flows/compile"
	"tuplenet/model"
	"tuplenet/model/store"
)

// wait is the wait for the nodes to apply what a command writes. It begins before the command, so that the state before it
// is known.
type wait struct {
	id    string
	since int64 // revision of the store before the command
	// recording of what the command writes; nil: it is read afterwards
	recording *store.Recording
	// differ is what it writes, or enough of that to tell whom it concerns; nil: not known
	differ []model.Ref
	limit  time.Duration
}

func beginWait(ctx context.Context, st *store.Store, limit time.Duration) (*wait, error) {
	since, err := st.Revision(ctx)
	if err != nil {
		return nil, err
	}
	return &wait{id: newWaiterID(), since: since, limit: limit}, nil
}

// record makes the end of the wait quicker, for commands that do not write much.
func (w *wait) record(ctx context.Context, st *store.Store) *wait {
	w.recording = st.Record(ctx, w.since)
	return w
}

// end waits for the chassis that the command affects. It returns a receipt also when chassis are late, with the error that
// names them.
func (w *wait) end(ctx context.Context, st *store.Store, revision int64) (*receiptView, error) {
	if w.differ != nil {
		d, known, err := st.Around(ctx, w.since, revision, w.differ)
		return w.await(ctx, st, revision, d, known, err)
	}
	if w.recording == nil {
		w.record(ctx, st)
	}
	defer w.recording.Close()
	d, known, err := w.recording.Until(ctx, revision)
	return w.await(ctx, st, revision, d, known, err)
}

// endBy is end for somebody who waits often.
func (w *wait) endBy(ctx context.Context, by *store.Waiting, revision int64) (*receiptView, error) {
	d, known, err := by.Between(ctx, w.since, revision)
	return w.await(ctx, by, revision, d, known, err)
}

// awaiter is what can wait.
type awaiter interface {
	Await(ctx context.Context, w store.Wait) (store.Receipt, error)
}

// await waits for those whom a difference concerns; where it is not known, for all that live.
func (w *wait) await(ctx context.Context, by awaiter, revision int64, d store.Difference, known bool, err error) (*receiptView, error) {
	if err != nil {
		return nil, fmt.Errorf("written at revision %d, but whom it affects is not known: %w", revision, err)
	}
	var chassis []string
	if known {
		chassis = affected(d)
	}
	return awaitReceipt(ctx, by, store.Wait{ID: w.id, Revision: revision, Since: w.since, Chassis: chassis, Limit: w.limit})
}

// affected are the chassis that may compile something else because of a difference.
func affected(d store.Difference) []string {
	chassis := []string{} // not nil: nobody
	for _, name := range compile.Affected(compile.Sight(d.Old), compile.Sight(d.New), d.Differ) {
		if d.New.Objects[model.Ref{Kind: model.KindChassis, Name: name}] != nil { // nobody waits for who was deleted
			chassis = append(chassis, name)
		}
	}
	return chassis
}

// newWaiterID names one wait; it is random, so that nobody answers another one's.
func newWaiterID() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, see its documentation
	return hex.EncodeToString(id[:])
}

// receiptView is the outcome of a wait.
type receiptView struct {
	Affected  int           `json:"affected"`
	Applied   int           `json:"applied"`
	ElapsedMS int64         `json:"elapsedMilliseconds"`
	Laggards  []laggardView `json:"laggards,omitempty"`
	text      string
}

type laggardView struct {
	Chassis string `json:"chassis"`
	Applied int64  `json:"appliedRevision"`
	// AgeMS is the time since its last report, or, if it is unreachable, since it was last seen.
	AgeMS       int64           `json:"reportAgeMilliseconds,omitempty"`
	Unreachable bool            `json:"unreachable,omitempty"`
	Refused     []model.Problem `json:"refused,omitempty"`
	Reason      string          `json:"reason,omitempty"`
}

// await waits until all chassis that live have applied a revision.
func await(ctx context.Context, st *store.Store, waiter string, revision int64, limit time.Duration) (*receiptView, error) {
	return awaitReceipt(ctx, st, store.Wait{ID: waiter, Revision: revision, Limit: limit})
}

func awaitReceipt(ctx context.Context, by awaiter, w store.Wait) (*receiptView, error) {
	r, err := by.Await(ctx, w)
	if err != nil {
		return nil, fmt.Errorf("written at revision %d, but waiting for the nodes failed: %w", w.Revision, err)
	}
	view := &receiptView{Affected: r.Affected, Applied: r.Applied, ElapsedMS: r.Elapsed.Milliseconds()}
	for _, l := range r.Laggards {
		view.Laggards = append(view.Laggards, laggardView{Chassis: l.Chassis, Applied: l.Applied, AgeMS: l.Age.Milliseconds(),
			Unreachable: l.Unreachable, Refused: l.Refused, Reason: l.Reason})
	}
	view.text = r.String()
	if len(r.Laggards) > 0 {
		return view, notConverged{lateText(r, w.Revision)}
	}
	return view, nil
}

// maxLaggards is how many late chassis an error names; json and yaml have them all.
const maxLaggards = 3

// lateText says which chassis are late and why, in one line.
func lateText(r store.Receipt, revision int64) string {
	shown := r.Laggards[:min(len(r.Laggards), maxLaggards)]
	names := make([]string, len(shown))
	for i, l := range shown {
		names[i] = l.String()
	}
	text := fmt.Sprintf("not applied everywhere: %s, revision %d is missing on %s", r, revision, strings.Join(names, "; "))
	if more := len(r.Laggards) - len(shown); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
