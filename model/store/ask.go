package store

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
)

// A question to a node is a key under a short lease of who asks; the answer's parts are put under the same lease, so that
// nothing stays when either side dies. Answers are compressed, and cut into parts that etcd takes (1.5 MiB by default).
const (
	askTTL     = 20 * time.Second
	answerPart = 1 << 20
	// maxAnswer bounds what an answer may occupy in the store, compressed.
	maxAnswer = 32 << 20
	// maxUnpacked bounds what is made of an answer in memory.
	maxUnpacked = 1 << 30
	answerEnd   = "end" // the last key of an answer; its value is the number of parts
)

// Ask puts a question to a node through the store and waits for its answer until ctx ends. That a node answers with an error
// is in the answer. Errors: ErrNotFound if there is no such chassis, ErrNotLive if its daemon does not run or does not answer
// in time, ErrUnreachable if the store does not.
func (s *Store) Ask(ctx context.Context, chassis string, req model.NodeRequest) (model.NodeAnswer, error) {
	if err := model.ValidateName(chassis); err != nil {
		return model.NodeAnswer{}, refuse(ErrInvalid, "chassis: %s", err)
	}
	if err := s.checkLive(ctx, chassis); err != nil {
		return model.NodeAnswer{}, err
	}
	req.Chassis = chassis
	question, err := json.Marshal(req)
	if err != nil {
		return model.NodeAnswer{}, fmt.Errorf("write a question as JSON: %w", err)
	}
	lease, err := s.grant(ctx, askTTL)
	if err != nil {
		return model.NodeAnswer{}, err
	}
	defer s.revoke(lease)
	id := newAskID()
	rev, err := s.question(ctx, chassis, id, string(question), lease)
	var answer model.NodeAnswer
	if err == nil {
		answer, err = s.awaitAnswer(ctx, lease, s.keys.answers(id), rev)
	}
	if ctx.Err() != nil { // be it that the question was on its way, or that its answer is not
		return model.NodeAnswer{}, s.silent(context.WithoutCancel(ctx), chassis, ctx)
	}
	return answer, err
}

// question writes a question and returns the revision at which it was written first: when the store's answer to that was lost and it is written
// again, the node may have answered in between.
func (s *Store) question(ctx context.Context, chassis, id, text string, lease clientv3.LeaseID) (rev int64, err error) {
	key := s.keys.asks(chassis) + id
	err = s.call(ctx, "ask chassis "+chassis, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
			Then(clientv3.OpPut(key, text, clientv3.WithLease(lease))).
			Else(clientv3.OpGet(key)).Commit()
		if err != nil {
			return err
		}
		rev = resp.Header.Revision
		if !resp.Succeeded {
			rev = resp.Responses[0].GetResponseRange().Kvs[0].CreateRevision
		}
		return nil
	})
	return rev, err
}

func newAskID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see its documentation
	return hex.EncodeToString(b[:])
}

// checkLive tells whether there is somebody to ask.
func (s *Store) checkLive(ctx context.Context, chassis string) error {
	var there, live bool
	err := s.call(ctx, "look for chassis "+chassis, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Txn(ctx).Then(
			clientv3.OpGet(s.keys.live(chassis), clientv3.WithCountOnly()),
			clientv3.OpGet(s.keys.object(model.Ref{Kind: model.KindChassis, Name: chassis}), clientv3.WithCountOnly())).Commit()
		if err != nil {
			return err
		}
		live = resp.Responses[0].GetResponseRange().Count > 0
		there = resp.Responses[1].GetResponseRange().Count > 0
		return nil
	})
	switch {
	case err != nil:
		return err
	case live:
		return nil
	case !there:
		return refuse(ErrNotFound, "chassis %s not found", chassis)
	}
	return s.notLive(ctx, chassis)
}

// notLive is the error of a node whose daemon does not run. That it cannot be told since when is no failure.
func (s *Store) notLive(ctx context.Context, chassis string) error {
	age, _ := s.LastSeen(ctx, chassis)
	return refuse(ErrNotLive, "chassis %s is unreachable (%s)", chassis, seenText(age))
}

// silent is the error of a node that counts as alive and does not answer.
func (s *Store) silent(ctx context.Context, chassis string, asked context.Context) error {
	if !errors.Is(asked.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("ask chassis %s: %w", chassis, context.Cause(asked))
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	age, alive, err := s.Seen(ctx, chassis)
	switch {
	case err != nil:
		return refuse(ErrUnreachable, "chassis %s did not answer in time, and neither does the store: %s", chassis, oneLine(err))
	case !alive:
		return s.notLive(ctx, chassis)
	}
	return refuse(ErrNotLive, "chassis %s is unreachable (last seen %.0f s ago)", chassis, age.Seconds())
}

// Seen says how long ago a chassis last renewed its sign of life; alive is false if that has expired.
func (s *Store) Seen(ctx context.Context, chassis string) (age time.Duration, alive bool, err error) {
	err = s.call(ctx, "ask for a sign of life of chassis "+chassis, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Get(ctx, s.keys.live(chassis))
		if err != nil || len(resp.Kvs) == 0 || resp.Kvs[0].Lease == 0 {
			return err
		}
		ttl, err := c.TimeToLive(ctx, clientv3.LeaseID(resp.Kvs[0].Lease))
		if err != nil || ttl.TTL <= 0 {
			return err
		}
		age, alive = time.Duration(max(0, ttl.GrantedTTL-ttl.TTL))*time.Second, true
		return nil
	})
	return age, alive, err
}

// awaitAnswer collects the parts of an answer.
func (s *Store) awaitAnswer(ctx context.Context, lease clientv3.LeaseID, folder string, rev int64) (model.NodeAnswer, error) {
	c, err := s.etcd()
	if err != nil {
		return model.NodeAnswer{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive, err := c.KeepAlive(ctx, lease)
	if err != nil {
		return model.NodeAnswer{}, fmt.Errorf("keep a question: %w", err)
	}
	parts := map[string]string{}
	var events clientv3.WatchChan
	for {
		if events == nil {
			events = c.Watch(clientv3.WithRequireLeader(ctx), folder, clientv3.WithPrefix(), clientv3.WithRev(rev+1))
		}
		select {
		case <-ctx.Done():
			return model.NodeAnswer{}, ctx.Err()
		case _, ok := <-alive:
			if !ok {
				return model.NodeAnswer{}, refuse(ErrUnreachable, "the store was away for so long that the question expired")
			}
			continue
		case resp, ok := <-events:
			if !ok || resp.Err() != nil { // on from where it broke; a compaction in these seconds is read over
				rev = max(rev, resp.CompactRevision-1)
				events = nil
				pauseFor(ctx, retryMin)
				continue
			}
			for _, e := range resp.Events {
				if e.Type == mvccpb.PUT {
					parts[strings.TrimPrefix(string(e.Kv.Key), folder)] = string(e.Kv.Value)
				}
				rev = e.Kv.ModRevision
			}
		}
		if _, complete := parts[answerEnd]; complete {
			return joinAnswer(parts)
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// revoke ends a lease; if the store is away, it ends by itself.
func (s *Store) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	if c, err := s.etcd(); err == nil {
		_, _ = c.Revoke(ctx, lease)
	}
}

// splitAnswer makes the parts of an answer, which may have most bytes, compressed.
func splitAnswer(a model.NodeAnswer, most int) ([]string, error) {
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if err := json.NewEncoder(zip).Encode(a); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	if packed.Len() > most {
		return nil, fmt.Errorf("the answer takes %d KiB, more than the store should carry: ask on the node itself", packed.Len()>>10)
	}
	var parts []string
	for packed.Len() > 0 {
		parts = append(parts, string(packed.Next(answerPart)))
	}
	return parts, nil
}

// joinAnswer makes an answer of its parts.
func joinAnswer(parts map[string]string) (a model.NodeAnswer, err error) {
	n, err := strconv.Atoi(parts[answerEnd])
	if err != nil || n < 1 || n > len(parts) {
		return a, errors.New("the node's answer is incomplete")
	}
	readers := make([]io.Reader, n)
	for i := range readers {
		part, ok := parts[strconv.Itoa(i)]
		if !ok {
			return a, errors.New("the node's answer is incomplete")
		}
		readers[i] = strings.NewReader(part)
	}
	zip, err := gzip.NewReader(io.MultiReader(readers...))
	if err == nil {
		err = json.NewDecoder(io.LimitReader(zip, maxUnpacked)).Decode(&a)
	}
	if err != nil {
		return a, fmt.Errorf("read the node's answer: %w", err)
	}
	return a, nil
}
