package tpctl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tuplenet/flows/compile"
	"tuplenet/model"
	"tuplenet/model/store"
)

// batchWindow is how many transactions of a batch are under way at most.
const batchWindow = 48

// batchRun carries out the lines of a batch. It belongs to one goroutine; the groups under way have each their own.
//
// The outcome must be that of the lines one after the other. So a group waits for those under way that it has a name,
// an address or a number in common with; everything that is not a mere addition waits for all.
type batchRun struct {
	app       *app
	st        *store.Store
	bulk      *store.Bulk
	set       settings
	keepGoing bool

	next    *group   // lines that wait for company
	flying  []*group // sent, in the order of lines
	results chan *group

	done         int
	errors       []batchError
	first        error // the first error, when going on
	transactions int
	revision     int64 // the last one that was written
	unwaited     int64 // the first one that was written since the last line that waited; 0: none
	writes       int   // transactions since then
	// made are some of the objects that were added since the last line that waited, and since the beginning: enough to tell whom all of them
	// concern. Nil: something else was done.
	made, madeAtAll digest
	waiting         *store.Waiting // of a batch that waits often; else nil
	mark            mark           // the request of the wait that follows, once it went with what is waited for
	judging         sync.WaitGroup // looks at what is odd about what was written
}

// digest is some of many new objects: of those that concern the same chassis (compile.Alike) one.
type digest map[string]model.Ref

func (d digest) add(objects []model.Object) {
	if d == nil {
		return
	}
	for _, o := range objects {
		d[compile.Alike(o)] = o.Ref()
	}
}

// differ are the objects; nil: not known.
func (d digest) differ() []model.Ref {
	if d == nil {
		return nil
	}
	return append([]model.Ref{}, slices.Collect(maps.Values(d))...)
}

// wrote notes what a line or a group added; nothing: that it did something else.
func (r *batchRun) wrote(added []model.Object) {
	if len(added) == 0 {
		r.made, r.madeAtAll = nil, nil
	}
	r.made.add(added)
	r.madeAtAll.add(added)
}

// mark is the request of a waiter that went with a write.
type mark struct {
	id       string // "": none
	revision int64
}

// fewWrites between two lines that wait let expect as few until the next.
const fewWrites = 16

// written notes a revision.
func (r *batchRun) written(rev int64) {
	r.revision = max(r.revision, rev)
	if r.unwaited == 0 || rev < r.unwaited {
		r.unwaited = rev
	}
	if r.writes++; r.writes > fewWrites {
		r.waitNoMore()
	}
}

// close ends what runs beside the batch.
func (r *batchRun) close() {
	r.judging.Wait()
	r.waitNoMore()
}

func (r *batchRun) waitNoMore() {
	if r.waiting != nil {
		r.waiting.Close()
		r.waiting = nil
	}
}

// request has the next write carry the request of the wait that follows it.
func (r *batchRun) request(waits bool) (id string, opts []store.Option) {
	if !waits || r.waiting == nil || r.waiting.Over() || len(r.flying) > 0 {
		return "", nil
	}
	id = newWaiterID()
	r.waiting.Begin(id)
	return id, []store.Option{store.WithWaiter(id), store.Between(max(r.unwaited-1, 0), 0)}
}

// group is lines that are carried out by one transaction, or one line that adds something by itself.
type group struct {
	lines   []*action
	weight  int
	needs   map[string]bool // what must be there
	makes   map[string]bool // what it makes and claims
	single  bool            // by its own command
	waits   bool            // the line behind the last one waits
	mark    string          // the waiter whose request goes with it; "": none
	opts    []store.Option
	begun   *store.Addition
	made    []model.Object
	rev     int64
	err     error
	arrived bool
}

func newBatchRun(a *app, st *store.Store, set settings, keepGoing bool) *batchRun {
	return &batchRun{app: a, st: st, bulk: st.Bulk(), set: set, keepGoing: keepGoing, results: make(chan *group, batchWindow), made: digest{}, madeAtAll: digest{}}
}

// line takes the next line.
func (r *batchRun) line(ctx context.Context, p *lineParser, l inputLine) error {
	act, err := p.parse(ctx, l.number, l.text)
	if err != nil {
		if err := r.drain(ctx); err != nil { // the lines before come first
			return err
		}
		return r.fail(&lineError{l.number, err})
	}
	if act == nil {
		return nil
	}
	if len(act.adds) == 0 {
		if err := r.drain(ctx); err != nil {
			return err
		}
		return r.perform(ctx, act, l.waits)
	}
	needs, makes, single := map[string]bool{}, map[string]bool{}, false
	weight := 0
	for _, o := range act.adds {
		single = dependencies(o, needs, makes) || single
		weight += store.Weight(o)
	}
	if r.next != nil && (single || r.next.single || r.next.weight+weight+len(r.next.needs)+len(needs) > store.MaxWeight || meets(r.next.makes, makes) ||
		meets(r.next.needs, makes) || // what comes later must not help a line before it
		slices.ContainsFunc(act.adds, isParent) && r.awaits(r.next)) { // nor what others need be sent late with what has to wait
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	if r.next == nil {
		r.next = &group{needs: map[string]bool{}, makes: map[string]bool{}, single: single}
	}
	g := r.next
	g.lines, g.weight, g.waits = append(g.lines, act), g.weight+weight, l.waits
	maps.Copy(g.needs, needs)
	maps.Copy(g.makes, makes)
	return nil
}

// dependencies adds what an object needs and what it makes. single: its addresses or number are chosen or judged by the store,
// which does not happen together with others.
func dependencies(o model.Object, needs, makes map[string]bool) (single bool) {
	ref := o.Ref()
	makes[ref.String()] = true
	for _, c := range model.Claims(o) {
		if kind, _, _ := strings.Cut(c, "/"); kind == "port" || kind == "ip" || kind == "mac" && !strings.HasSuffix(c, model.MAC{}.String()) {
			makes[c] = true // the others are chosen by the store
		}
	}
	switch ref.Kind {
	case model.KindSwitchPort:
		needs[model.Ref{Kind: model.KindSwitch, Name: ref.Parent}.String()] = true
	case model.KindRouterPort:
		needs[model.Ref{Kind: model.KindRouter, Name: ref.Parent}.String()] = true
	}
	switch o := o.(type) {
	case *model.LogicalSwitchPort:
		addresses := "addresses of " + o.Switch
		if single = o.Type == model.PortVIF && len(o.IPs) == 0; single {
			makes[addresses] = true
		} else if len(o.IPs) > 0 {
			needs[addresses] = true // those chosen for the lines before
		}
	case *model.LogicalSwitch:
		if single = o.VNI != 0 || len(o.Pools) > 0; single {
			makes["numbers"] = true
		} else {
			needs["numbers"] = true
		}
	}
	return single
}

// awaits tells whether a group needs something that is under way.
func (r *batchRun) awaits(g *group) bool {
	return slices.ContainsFunc(r.flying, func(f *group) bool { return !f.arrived && meets(f.makes, g.needs) })
}

// isParent tells whether others may belong to an object.
func isParent(o model.Object) bool {
	k := o.Ref().Kind
	return k == model.KindSwitch || k == model.KindRouter
}

// meets tells whether two sets have something in common.
func meets(a, b map[string]bool) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	for k := range a {
		if b[k] {
			return true
		}
	}
	return false
}

// flush sends the lines that wait for company.
func (r *batchRun) flush(ctx context.Context) error {
	g := r.next
	if g == nil {
		return nil
	}
	r.next = nil
	for len(r.flying) >= batchWindow || slices.ContainsFunc(r.flying, func(f *group) bool {
		// What is sent together need not wait for what it needs, unless it is to fail by itself: see store.Bulk.
		behind := !f.single && !g.single && !r.keepGoing
		return !f.arrived && (meets(f.makes, g.makes) || !behind && meets(f.makes, g.needs) || meets(f.needs, g.makes))
	}) {
		if err := r.settle(ctx, <-r.results); err != nil {
			g.err = errors.New("not sent")
			return err
		}
	}
	g.mark, g.opts = r.request(g.waits)
	r.flying = append(r.flying, g)
	own := context.WithoutCancel(ctx) // what is sent is seen through; each request has its own limit
	if !g.single {
		var objects []model.Object
		for _, l := range g.lines {
			objects = append(objects, l.adds...)
		}
		g.begun, g.err = r.bulk.Prepare(own, objects)
		if g.err == nil {
			g.err = g.begun.Send(own, g.opts...)
		}
	}
	go func() {
		r.attempt(own, g)
		r.results <- g
	}()
	return nil
}

// attempt carries out a group; when going on, line by line if it fails as a whole.
func (r *batchRun) attempt(ctx context.Context, g *group) {
	switch {
	case g.single:
		var c change
		c, g.err = g.lines[0].do(ctx, r.st, g.opts...)
		g.rev, g.made = c.revision, g.lines[0].adds
	case g.err == nil:
		g.made, g.rev, g.err = g.begun.Result()
	}
}

// settle takes the result of a group.
func (r *batchRun) settle(ctx context.Context, g *group) error {
	g.arrived = true
	if g.err != nil {
		if !r.keepGoing || hopeless(g.err) {
			err := r.rewind(ctx)
			if err != nil {
				r.next = nil // it comes after the line that failed
			}
			return err
		}
		r.flying = slices.DeleteFunc(r.flying, func(f *group) bool { return f == g })
		return r.oneByOne(ctx, g.lines)
	}
	r.transactions++
	r.written(g.rev)
	r.wrote(g.made)
	r.mark = mark{g.mark, g.rev}
	if r.keepGoing {
		r.flying = slices.DeleteFunc(r.flying, func(f *group) bool { return f == g })
		r.done += len(g.lines)
		return nil
	}
	for len(r.flying) > 0 && r.flying[0].arrived { // what is before the first that is under way is final
		r.done += len(r.flying[0].lines)
		r.flying = r.flying[1:]
	}
	return nil
}

// rewind is what happens when a group fails that may not: what was sent after it is taken back, and all of that is done
// again line by line up to the one that fails.
func (r *batchRun) rewind(ctx context.Context) error {
	own := context.WithoutCancel(ctx)
	for slices.ContainsFunc(r.flying, func(g *group) bool { return !g.arrived }) {
		g := <-r.results
		g.arrived = true
		if g.err == nil {
			r.transactions++
		}
	}
	slices.SortFunc(r.flying, func(a, b *group) int { return cmp.Compare(a.lines[0].number, b.lines[0].number) })
	failed := slices.IndexFunc(r.flying, func(g *group) bool { return g.err != nil })
	for _, g := range r.flying[:failed] {
		r.done += len(g.lines)
	}
	again := r.flying[failed:]
	r.flying = nil
	var lines []*action
	for i := len(again) - 1; i >= 0; i-- {
		if g := again[i]; g.err == nil {
			if err := r.undo(own, g); err != nil {
				return &lineError{again[0].lines[0].number, fmt.Errorf("%w; what was sent ahead, lines %d to %d, could not be taken back: %w",
					again[0].err, g.lines[0].number, g.lines[len(g.lines)-1].number, err)}
			}
		}
	}
	if hopeless(again[0].err) {
		return &lineError{again[0].lines[0].number, again[0].err}
	}
	for _, g := range again {
		lines = append(lines, g.lines...)
	}
	return r.oneByOne(ctx, lines)
}

// undo takes a group back.
func (r *batchRun) undo(ctx context.Context, g *group) error {
	var refs []model.Ref
	for _, o := range g.made {
		refs = append(refs, o.Ref())
	}
	slices.SortStableFunc(refs, func(a, b model.Ref) int { // what belongs to something first
		return cmp.Compare(len(b.Parent), len(a.Parent))
	})
	_, err := r.st.DeleteAll(ctx, refs)
	r.transactions++
	return err
}

// oneByOne carries out lines that failed together.
func (r *batchRun) oneByOne(ctx context.Context, lines []*action) error {
	r.bulk.Forget()
	for _, l := range lines {
		if err := r.perform(ctx, l, false); err != nil {
			return err
		}
	}
	return nil
}

// perform carries out one line by its own command; waits: the line behind it waits.
func (r *batchRun) perform(ctx context.Context, l *action, waits bool) error {
	if ctx.Err() != nil {
		return &lineError{l.number, context.Cause(ctx)}
	}
	var err error
	if l.wait > 0 {
		err = r.wait(ctx, l.wait)
	} else {
		err = r.command(context.WithoutCancel(ctx), l, waits)
	}
	if err != nil {
		return r.fail(&lineError{l.number, err})
	}
	r.done++
	return nil
}

func (r *batchRun) command(ctx context.Context, l *action, waits bool) error {
	if l.find != nil {
		found, err := l.find(ctx, r.st)
		if err != nil {
			return err
		}
		return found.write(r.app.env.Stdout, r.set.Output)
	}
	if l.recursive && !r.set.Yes {
		return usagef("it deletes what is below, too: run batch with --yes")
	}
	id, opts := r.request(waits)
	done, err := l.do(ctx, r.st, opts...)
	if err != nil {
		return err
	}
	if !done.unnumbered {
		r.bulk.Forget()
	}
	r.transactions++
	r.written(done.revision)
	r.wrote(append(done.judge[:len(done.judge):len(done.judge)], l.adds...))
	r.mark = mark{id, done.revision}
	r.judging.Go(func() { // meanwhile the nodes are at work
		for _, text := range warnings(ctx, r.st, done.judge) {
			fmt.Fprintf(r.app.env.Stderr, "line %d: warning: %s\n", l.number, text)
		}
	})
	if !waits {
		r.judging.Wait()
	}
	return nil
}

// wait waits until the nodes applied what was written since it waited last.
func (r *batchRun) wait(ctx context.Context, limit time.Duration) error {
	defer r.judging.Wait()
	if r.unwaited == 0 {
		return nil
	}
	since, few := r.unwaited-1, r.writes <= fewWrites
	receipt, err := r.await(ctx, since, limit)
	r.unwaited, r.writes, r.mark, r.made = 0, 0, mark{}, digest{}
	if receipt != nil && err == nil && !r.set.Output.structured() {
		fmt.Fprintln(r.app.env.Stdout, receipt.text)
	}
	if r.waiting != nil && r.waiting.Over() {
		r.waitNoMore()
	}
	if few && r.waiting == nil {
		r.waiting, _ = r.st.Waiting(ctx) // without it waits take longer
	}
	return err
}

// await is one wait, with what is kept for waits or without.
func (r *batchRun) await(ctx context.Context, since int64, limit time.Duration) (*receiptView, error) {
	w := &wait{id: newWaiterID(), since: since, limit: limit, differ: r.made.differ()}
	if r.waiting == nil {
		return markEnd(ctx, r.st, w, r.revision)
	}
	if r.mark.id != "" && r.mark.revision == r.revision {
		w.id = r.mark.id
	} else {
		r.waiting.Begin(w.id)
		if _, err := r.st.Mark(ctx, store.WithWaiter(w.id), store.Between(since, r.revision)); err != nil {
			return nil, err
		}
	}
	return w.endBy(ctx, r.waiting, r.revision)
}

// fail takes the error of a line: the end, or, when going on, a note.
func (r *batchRun) fail(err *lineError) error {
	r.errors = append(r.errors, batchError{err.number, oneLine(err.err)})
	if !r.keepGoing || hopeless(err.err) {
		return err
	}
	if r.first == nil {
		r.first = err
	}
	fmt.Fprintln(r.app.env.Stderr, oneLine(err))
	return nil
}

// drain sends what waits and waits for all.
func (r *batchRun) drain(ctx context.Context) error {
	if err := r.flush(ctx); err != nil {
		return err
	}
	for len(r.flying) > 0 {
		if err := r.settle(ctx, <-r.results); err != nil {
			return err
		}
	}
	return nil
}

// finish ends a batch of which all lines were read.
func (r *batchRun) finish(ctx context.Context) error {
	if err := r.drain(ctx); err != nil {
		return r.stopped(ctx, err)
	}
	if r.first != nil {
		return fmt.Errorf("%d of %d lines failed, the first: %w", len(r.errors), len(r.errors)+r.done, r.first)
	}
	return nil
}

// stopped ends a batch before its end and says where to go on.
func (r *batchRun) stopped(ctx context.Context, err error) error {
	var at *lineError
	if !errors.As(err, &at) {
		return err
	}
	// What was read before that line is seen through, so that the place to go on is exact.
	if again := r.drain(context.WithoutCancel(ctx)); again != nil && errors.As(again, &at) {
		err = again
	}
	return fmt.Errorf("%w; stopped, %d lines are done, go on with --from %d", err, r.done, at.number)
}
