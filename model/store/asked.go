package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// askedAtOnce is how many questions a node works on at the same time; more wait.
const askedAtOnce = 4

// FollowAsks answers the questions to a chassis until ctx ends. handle may be called from several goroutines; its context
// ends with ctx or when nobody waits for the answer any more. The answer's Chassis is filled in.
func (s *Store) FollowAsks(ctx context.Context, chassis string, handle func(context.Context, model.NodeRequest) model.NodeAnswer) error {
	a := &asked{store: s, chassis: chassis, handle: handle, slots: make(chan struct{}, askedAtOnce), open: map[string]context.CancelFunc{}}
	defer a.work.Wait()
	defer a.drop(nil)
	pause := retryMin
	for ctx.Err() == nil {
		err := a.follow(ctx)
		if a.progressed {
			pause, a.progressed = retryMin, false
		}
		s.log.Debug("following questions was interrupted", "err", err, "again_in", pause)
		pauseFor(ctx, pause)
		pause = min(2*pause, retryMax)
	}
	return context.Cause(ctx)
}

// asked is the state of FollowAsks. One goroutine owns it; those that answer only know the channel.
type asked struct {
	store      *Store
	chassis    string
	handle     func(context.Context, model.NodeRequest) model.NodeAnswer
	slots      chan struct{}
	open       map[string]context.CancelFunc // questions that are in the store, by id, answered or not
	work       sync.WaitGroup
	progressed bool
}

// follow reads the open questions and watches for new ones until something breaks.
func (a *asked) follow(ctx context.Context) error {
	s := a.store
	folder := s.keys.asks(a.chassis)
	h, kvs, err := s.list(ctx, []keyRange{prefixRange(folder)})
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for _, kv := range kvs {
		here[strings.TrimPrefix(string(kv.Key), folder)] = true
		a.take(ctx, kv)
	}
	a.drop(here)
	c, err := s.etcd()
	if err != nil {
		return err
	}
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range c.Watch(clientv3.WithRequireLeader(watched), folder, clientv3.WithPrefix(), clientv3.WithRev(h.revision+1)) {
		if err := resp.Err(); err != nil {
			return err
		}
		a.progressed = true
		for _, e := range resp.Events {
			if e.Type == mvccpb.PUT {
				a.take(ctx, e.Kv)
				continue
			}
			id := strings.TrimPrefix(string(e.Kv.Key), folder)
			if cancel := a.open[id]; cancel != nil {
				cancel()
				delete(a.open, id)
			}
		}
	}
	return errors.New("the watch ended")
}

// drop forgets the questions that are not in the store any more.
func (a *asked) drop(here map[string]bool) {
	for id, cancel := range a.open {
		if !here[id] {
			cancel()
			delete(a.open, id)
		}
	}
}

// take begins to answer a question, unless that was done.
func (a *asked) take(ctx context.Context, kv *mvccpb.KeyValue) {
	id := strings.TrimPrefix(string(kv.Key), a.store.keys.asks(a.chassis))
	if a.open[id] != nil || kv.Lease == 0 || strings.Contains(id, "/") {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a.open[id] = cancel
	a.work.Go(func() {
		select {
		case a.slots <- struct{}{}:
			defer func() { <-a.slots }()
		case <-ctx.Done():
			return
		}
		if err := a.answer(ctx, id, kv); err != nil && ctx.Err() == nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			a.store.log.Warn("a question could not be answered", "id", id, "err", err)
		}
	})
}

// answer asks the handler and writes what it says under the lease of who asked.
func (a *asked) answer(ctx context.Context, id string, kv *mvccpb.KeyValue) error {
	var req model.NodeRequest
	var answer model.NodeAnswer
	if err := json.Unmarshal(kv.Value, &req); err != nil {
		answer.Error = "the question cannot be read: " + err.Error()
	} else {
		answer = a.handle(ctx, req)
	}
	answer.Chassis = a.chassis
	parts, err := splitAnswer(answer, maxAnswer)
	if err != nil {
		if parts, err = splitAnswer(model.NodeAnswer{Chassis: a.chassis, Error: err.Error()}, maxAnswer); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	lease := clientv3.WithLease(clientv3.LeaseID(kv.Lease))
	folder := a.store.keys.answers(id)
	for i, part := range parts {
		ops := []clientv3.Op{clientv3.OpPut(folder+strconv.Itoa(i), part, lease)}
		if i == len(parts)-1 {
			ops = append(ops, clientv3.OpPut(folder+answerEnd, strconv.Itoa(len(parts)), lease))
		}
		if err := a.put(ctx, ops); err != nil {
			return err
		}
	}
	return nil
}

// put writes a part of an answer. While the store is away it goes on trying, for as long as somebody may wait for it: nobody would
// answer the question once more.
func (a *asked) put(ctx context.Context, ops []clientv3.Op) error {
	for {
		err := a.store.call(ctx, "answer a question", func(ctx context.Context, c *clientv3.Client, _ bool) error {
			_, err := c.Txn(ctx).Then(ops...).Commit()
			return err
		})
		if !errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return err
		}
		pauseFor(ctx, retryMax)
	}
}
