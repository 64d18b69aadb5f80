package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"tuplenet/model"
	"tuplenet/model/alloc"
)

// numbers is a space of numbers whose keys in unique/ sort as the numbers do.
type numbers struct {
	what        string // for errors: "VNI"
	first, last uint32
	claim       func(n uint32) string             // the claim of a number
	number      func(tail string) (uint32, error) // the number in the last part of a key
	reserved    []uint32                          // never given out, ascending; whether they have a key or not
}

func vnis() numbers {
	return numbers{what: "VNI", first: 1, last: uint32(model.MaxVNI),
		claim:  func(n uint32) string { return model.ClaimVNI(model.VNI(n)) },
		number: func(tail string) (uint32, error) { n, err := strconv.ParseUint(tail, 16, 32); return uint32(n), err }}
}

func portKeys(in model.Ref) numbers {
	return numbers{what: "port key of " + in.String(), first: 1, last: uint32(model.MaxPortKey),
		claim:  func(n uint32) string { return model.ClaimKey(in, model.PortKey(n)) },
		number: func(tail string) (uint32, error) { n, err := strconv.ParseUint(tail, 10, 32); return uint32(n), err }}
}

// addresses is what is given out of a subnet of a switch or router; the numbers are offsets from the first address.
func addresses(in model.Ref, from Pool) (pool numbers, first netip.Addr) {
	subnet := from.Subnet.Masked()
	first, last := alloc.Pool(subnet)
	if len(from.Reserved) > 0 {
		first, last = alloc.Hosts(subnet)
	}
	for _, a := range from.Reserved {
		if !a.Less(first) && !last.Less(a) {
			pool.reserved = append(pool.reserved, alloc.Distance(first, a))
		}
	}
	slices.Sort(pool.reserved)
	return numbers{reserved: slices.Compact(pool.reserved), what: "address in " + subnet.String(), first: 0, last: alloc.Distance(first, last),
		claim: func(n uint32) string { return model.ClaimIP(in, alloc.Offset(first, n)) },
		number: func(tail string) (uint32, error) {
			a, err := model.ParseFullLength(tail)
			return alloc.Distance(first, a), err
		}}, first
}

const (
	// page is how many taken numbers are read at once: most spaces have a free number within.
	page = 128
	// blocks is into how many parts a range is cut to find the one with a free number.
	blocks = 64
)

// free are up to n of the lowest free numbers of a space, as of now; others may take them before the caller does.
func (s *Store) free(ctx context.Context, space numbers, n int) ([]uint32, error) {
	all := alloc.Block{First: space.first, Last: space.last}
	for range attempts {
		b, first := all, true
		for {
			look, err := s.look(ctx, space, b)
			if err != nil {
				return nil, err
			}
			if out := alloc.Lowest(look.taken, b.First, look.end, n); len(out) > 0 {
				return out, nil
			}
			room, ok := alloc.FirstWithRoom(look.parts, look.counts)
			if !ok || look.end == b.Last {
				break
			}
			b, first = room, false
		}
		if first {
			return nil, refuse(ErrExhausted, "no free %s is left", space.what)
		}
		// The room that was there is taken meanwhile.
	}
	return nil, fmt.Errorf("find a free %s: others were faster %d times", space.what, attempts)
}

// look is what is known of a block of numbers: those taken from its start up to end, and how many are taken in each of
// its parts.
type look struct {
	taken  []uint32
	end    uint32
	parts  []alloc.Block
	counts []int64
}

// look reads the start of a block and counts the rest: a space may be full up to far behind the first page, and reading
// a key costs more than counting it.
func (s *Store) look(ctx context.Context, space numbers, b alloc.Block) (l look, err error) {
	within := func(b alloc.Block) (string, clientv3.OpOption) {
		return s.keys.unique(space.claim(b.First)), clientv3.WithRange(s.keys.unique(space.claim(b.Last)) + "\x00")
	}
	l.parts = alloc.Split(b, blocks)
	from, to := within(b)
	ops := []clientv3.Op{clientv3.OpGet(from, to, clientv3.WithKeysOnly(), clientv3.WithLimit(page))}
	for _, p := range l.parts {
		from, to := within(p)
		ops = append(ops, clientv3.OpGet(from, to, clientv3.WithCountOnly()))
	}
	for _, r := range space.reserved {
		ops = append(ops, clientv3.OpGet(s.keys.unique(space.claim(r)), clientv3.WithCountOnly()))
	}
	err = s.call(ctx, "find a free "+space.what, func(ctx context.Context, c *clientv3.Client, _ bool) error {
		resp, err := c.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return err
		}
		start := resp.Responses[0].GetResponseRange()
		l.taken, l.end = space.numbers(start.Kvs), b.Last
		if start.More && len(l.taken) > 0 {
			l.end = l.taken[len(l.taken)-1]
		}
		l.counts = l.counts[:0]
		for _, r := range resp.Responses[1 : 1+len(l.parts)] {
			l.counts = append(l.counts, r.GetResponseRange().GetCount())
		}
		for i, r := range resp.Responses[1+len(l.parts):] {
			if r.GetResponseRange().GetCount() == 0 {
				l.take(space.reserved[i])
			}
		}
		return nil
	})
	return l, err
}

// take counts a number as taken that has no key, if it is in the block.
func (l *look) take(n uint32) {
	for i, p := range l.parts {
		if p.First <= n && n <= p.Last {
			l.counts[i]++
		}
	}
	if n >= l.parts[0].First && n <= l.end {
		if at, known := slices.BinarySearch(l.taken, n); !known {
			l.taken = slices.Insert(l.taken, at, n)
		}
	}
}

// numbers are those in keys; what was put there by hand in another form is left out.
func (space numbers) numbers(kvs []*mvccpb.KeyValue) (out []uint32) {
	for _, kv := range kvs {
		key := string(kv.Key)
		if n, err := space.number(key[strings.LastIndexByte(key, '/')+1:]); err == nil && n >= space.first && n <= space.last {
			out = append(out, n)
		}
	}
	return out
}

// candidates is how many numbers a transaction may try, given the operations that it has and that each try adds: one at
// first, more when others are allocating at the same time, so that a crowd does not race for a single number.
func candidates(attempt, guards, perChoice int) int {
	if attempt == 0 {
		return 1
	}
	return max(1, min(16, (maxOps-guards)/perChoice))
}
