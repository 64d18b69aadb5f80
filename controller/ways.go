package controller

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"tuplenet/datapath/host"
	"tuplenet/model"
)

// waysAtOnce bounds how many ways are measured at the same time.
const waysAtOnce = 16

// ways measures what the network between this chassis and others really carries.
func (a answers) ways(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args, "to"); err != nil {
		return nil, err
	}
	out := []model.NodeWay{}
	for _, text := range strings.FieldsFunc(args["to"], func(r rune) bool { return r == ',' }) {
		to, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("argument to: invalid IP %q", text)
		}
		out = append(out, model.NodeWay{To: to})
	}
	most := 0
	if err := a.l.inLoop(ctx, func() { most = a.l.mtu }); err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	turns := make(chan struct{}, waysAtOnce)
	for i := range out {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			mtu, err := host.PathMTU(ctx, out[i].To, most)
			if out[i].MTU = mtu; err != nil {
				out[i].MTU, out[i].Error = 0, err.Error()
			}
		})
	}
	wg.Wait()
	return out, nil
}
