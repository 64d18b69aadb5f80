package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
)

// maxOps is the largest number of operations of a transaction; etcd refuses 129 by default, this leaves room.
const maxOps = 100

// attempts is how often a transaction is tried that lost a race; each time somebody else has won.
const attempts = 1000

// guard is a condition of a transaction. When the transaction fails, its key is read in the same step, and explain
// says what is wrong (nil: this condition holds).
type guard struct {
	of      func(key string) clientv3.Cmp // the revision that is compared: clientv3.CreateRevision or clientv3.ModRevision
	is      string                        // how
	to      int64                         // with what
	key     string
	prefix  bool                            // the condition is on all keys that begin with key
	end     string                          // if not empty, it is on all keys from key to end
	number  bool                            // the condition is that key is absent, and it ends in a number (runs)
	explain func(kv *mvccpb.KeyValue) error // kv is nil if there is no such key
}

func (g *guard) cmp() clientv3.Cmp {
	c := g.of(g.key)
	switch {
	case g.prefix:
		c = c.WithPrefix()
	case g.end != "":
		c = c.WithRange(g.end)
	}
	return clientv3.Compare(c, g.is, g.to)
}

// read reads what explain is given.
func (g *guard) read() clientv3.Op {
	switch {
	case g.prefix:
		return clientv3.OpGet(g.key, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	case g.end != "":
		return clientv3.OpGet(g.key, clientv3.WithRange(g.end), clientv3.WithLimit(1))
	}
	return clientv3.OpGet(g.key)
}

// choice is one of several ways to carry out a change: taken if no choice before it was and its keys are absent.
type choice struct {
	free []string
	ops  []clientv3.Op
}

// change is one command as a transaction: if all guards hold, all ops are carried out, together with the first possible
// choice if there are any. When no choice is possible, nothing is.
type change struct {
	what    string // for errors: "add switch LS-A"
	guards  []guard
	ops     []clientv3.Op
	choices []choice
	options options
	nodes   bool // it changes chassis or bindings
	// hopeful: it hardly ever fails, so nothing is read in the same step to explain why; if it does fail, it is tried again with that.
	hopeful bool
	lost    bool // it may have been carried out before, together with others
	// makes are the keys that it writes and that guards of other changes may want to be there
	makes []string
	// key and done recognise a change that was carried out though its answer was lost: done is given what is at key
	// and tells which choice it is.
	key  string
	done func(kv *mvccpb.KeyValue) (choice int, ok bool)
}

// errTaken says that none of the choices was possible: somebody else was faster.
var errTaken = errors.New("all choices are taken")

// errRaced says that something changed while the transaction was made; read again and try again.
var errRaced = errors.New("changed meanwhile")

// absent is the guard that a key does not exist; taken makes the error from the value that it has.
func absent(key string, taken func(value string) error) guard {
	return guard{of: clientv3.CreateRevision, is: "=", to: 0, key: key, explain: func(kv *mvccpb.KeyValue) error {
		if kv == nil {
			return nil
		}
		return taken(string(kv.Value))
	}}
}

// present is the guard that a key exists.
func present(key string, missing error) guard {
	return guard{of: clientv3.CreateRevision, is: ">", to: 0, key: key, explain: func(kv *mvccpb.KeyValue) error {
		if kv != nil {
			return nil
		}
		return missing
	}}
}

// unchanged is the guard that a key has the revision that was seen (0: absent).
func unchanged(key string, seen int64) guard {
	return guard{of: clientv3.ModRevision, is: "=", to: seen, key: key, explain: func(kv *mvccpb.KeyValue) error {
		if kv.GetModRevision() == seen {
			return nil
		}
		return errRaced
	}}
}

// commit carries out a change and returns its revision and the choice taken. Errors: what a guard explains, errTaken,
// errRaced, or that of the store.
func (s *Store) commit(ctx context.Context, ch change) (rev int64, taken int, err error) {
	relet := false
	for fresh := false; ; fresh = true {
		meta, err := s.currentMeta(ctx, fresh)
		if err != nil {
			return 0, 0, err
		}
		rev, taken, err = s.try(ctx, ch, meta)
		switch {
		case errors.Is(err, errStaleMeta):
			continue
		case errors.Is(err, errHopeful):
			ch.hopeful = false
			continue
		case errors.Is(err, rpctypes.ErrLeaseNotFound) && !relet && s.forgetLease(ch.options.waiter):
			relet = true // such as of a process that was stopped for a while
			continue
		case err != nil && !errors.Is(err, errTaken) && !errors.Is(err, errRaced):
			s.endWait(ch.options.waiter)
		}
		return rev, taken, err
	}
}

// forgetLease lets the request of a waiter get another lease, if it has one.
func (s *Store) forgetLease(waiter string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.waits[waiter]
	delete(s.waits, waiter)
	return ok
}

// errHopeful says that a hopeful change failed.
var errHopeful = errors.New("it has to be tried again to find out why it fails")

// errStaleMeta says that the record of the schema version is not the one that was read.
var errStaleMeta = errors.New("the schema version was written meanwhile")

func (s *Store) try(ctx context.Context, ch change, meta *metaRecord) (rev int64, taken int, err error) {
	metaCmp, metaOps, err := meta.guard(s.keys.meta())
	if err != nil {
		return 0, 0, err
	}
	waiter, err := s.waiterOps(ctx, ch.options, ch.nodes)
	if err != nil {
		return 0, 0, err
	}
	ops, depth := ch.nest(append(waiter, ch.ops...))
	ops = append(ops, metaOps...)
	if n := max(len(ops), len(ch.guards)+2) + depth; n > maxOps {
		return 0, 0, fmt.Errorf("%s: %d operations are more than a transaction can have", ch.what, n)
	}
	ops = append(ops, s.pastOps(ch.options.waiter, maxOps-len(ops)-depth)...)
	var resp *clientv3.TxnResponse
	maybeDone := ch.lost
	err = s.call(ctx, ch.what, func(ctx context.Context, c *clientv3.Client, lost bool) (err error) {
		maybeDone = maybeDone || lost
		txn := c.Txn(ctx)
		if ch.hopeful && !maybeDone {
			txn = txn.If(append(runs(ch.guards), metaCmp)...).Then(ops...)
		} else {
			txn = txn.If(append(ch.cmps(), metaCmp)...).Then(ops...).Else(ch.reads(s.keys.meta())...)
		}
		resp, err = txn.Commit()
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if resp.Succeeded {
		s.rememberMeta(meta, metaOps)
		return ch.took(resp)
	}
	if ch.hopeful && !maybeDone {
		return 0, 0, errHopeful
	}
	return ch.failed(resp, meta, maybeDone)
}

// runs are the conditions of guards, those that consecutive numbers are absent as one: that there is nothing from the first to the last.
// Keys of numbers (port keys, addresses, MACs) have one length and sort as the numbers do, so that nothing else is between them.
func runs(guards []guard) []clientv3.Cmp {
	var out []clientv3.Cmp
	var numbers []string
	for _, g := range guards {
		if g.number {
			numbers = append(numbers, g.key)
		} else {
			out = append(out, g.cmp())
		}
	}
	slices.Sort(numbers)
	for from := 0; from < len(numbers); {
		to := from
		for to+1 < len(numbers) && follows(numbers[to], numbers[to+1]) {
			to++
		}
		cmp := clientv3.Compare(clientv3.CreateRevision(numbers[from]), "=", 0)
		if to > from {
			cmp = cmp.WithRange(numbers[to] + "\x00")
		}
		out, from = append(out, cmp), to+1
	}
	return out
}

// follows tells whether the second key is that of the next number, without looking further than the last digit.
func follows(a, b string) bool {
	end := len(a) - 1
	if len(b) != len(a) || end < 0 || a[:end] != b[:end] {
		return false
	}
	return b[end] == a[end]+1 || a[end] == '9' && b[end] == 'a'
}

// rememberMeta drops the record that says "absent" once it was written, so that the next write reads it.
func (s *Store) rememberMeta(meta *metaRecord, written []clientv3.Op) {
	if len(written) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meta == meta {
		s.meta = nil
	}
}

func (ch *change) cmps() []clientv3.Cmp {
	out := make([]clientv3.Cmp, 0, len(ch.guards)+1)
	for i := range ch.guards {
		out = append(out, ch.guards[i].cmp())
	}
	return out
}

// reads are what failed needs: the record of the schema version, what each guard explains, and what done recognises.
func (ch *change) reads(meta string) []clientv3.Op {
	out := make([]clientv3.Op, 0, len(ch.guards)+2)
	out = append(out, clientv3.OpGet(meta, clientv3.WithKeysOnly()))
	for i := range ch.guards {
		out = append(out, ch.guards[i].read())
	}
	if ch.key != "" {
		out = append(out, clientv3.OpGet(ch.key))
	}
	return out
}

// nest is the operations of the change; its choices become transactions within each other's else branch. etcd adds up
// the operations of all levels: depth is what those below the first one have.
func (ch *change) nest(common []clientv3.Op) (ops []clientv3.Op, depth int) {
	if len(ch.choices) == 0 {
		return common, 0
	}
	var otherwise []clientv3.Op
	for i := len(ch.choices) - 1; i >= 0; i-- {
		var cmps []clientv3.Cmp
		for _, key := range ch.choices[i].free {
			cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
		}
		then := append(slices.Clone(common), ch.choices[i].ops...)
		depth += max(len(then), len(cmps))
		otherwise = []clientv3.Op{clientv3.OpTxn(cmps, then, otherwise)}
	}
	return otherwise, depth
}

// took finds out which choice was carried out.
func (ch *change) took(resp *clientv3.TxnResponse) (int64, int, error) {
	if len(ch.choices) == 0 {
		return resp.Header.Revision, 0, nil
	}
	rs := resp.Responses
	for i := range ch.choices {
		if len(rs) == 0 {
			break
		}
		inner := rs[0].GetResponseTxn()
		if inner.GetSucceeded() {
			return resp.Header.Revision, i, nil
		}
		rs = inner.GetResponses()
	}
	return 0, 0, errTaken
}

// failed explains why the guards do not hold.
func (ch *change) failed(resp *clientv3.TxnResponse, meta *metaRecord, maybeDone bool) (int64, int, error) {
	if ch.done != nil && maybeDone {
		kv := first(resp.Responses[len(resp.Responses)-1])
		if i, ok := ch.done(kv); ok {
			if kv == nil {
				return resp.Header.Revision, i, nil
			}
			return kv.ModRevision, i, nil
		}
	}
	if kv := first(resp.Responses[0]); kv.GetModRevision() != meta.revision {
		return 0, 0, errStaleMeta
	}
	for i, g := range ch.guards {
		if err := g.explain(first(resp.Responses[i+1])); err != nil {
			return 0, 0, err
		}
	}
	return 0, 0, errRaced
}

func first(r *etcdserverpb.ResponseOp) *mvccpb.KeyValue {
	if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
		return kvs[0]
	}
	return nil
}
