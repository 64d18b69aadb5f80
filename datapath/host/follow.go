package host

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"
)

// The pauses of Follow: between two calls, and before following again after an error.
const (
	followPause      = 200 * time.Millisecond
	followErrorPause = time.Second
)

// Follow calls changed once at the start, and again after addresses or devices of this namespace have changed, at most
// once in 200 ms, until ctx ends; it returns ctx.Err() then. The caller looks for itself at what it needs. When the kernel had to
// drop notifications, changed is called too, so nothing is missed for good. All calls come from the goroutine of Follow.
func Follow(ctx context.Context, log *slog.Logger, changed func()) error {
	for ctx.Err() == nil {
		if err := followOnce(ctx, changed); err != nil && ctx.Err() == nil {
			log.Warn("following addresses again", "component", "host", "err", err)
			pause(ctx, followErrorPause)
		}
	}
	return ctx.Err()
}

// followOnce follows until ctx ends or a subscription does.
func followOnce(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure error // written before a channel is closed, read afterwards
	failed := func(err error) { failure = err }
	addrs, links := make(chan netlink.AddrUpdate), make(chan netlink.LinkUpdate)
	if err := netlink.AddrSubscribeWithOptions(addrs, ctx.Done(), netlink.AddrSubscribeOptions{ErrorCallback: failed}); err != nil {
		return fmt.Errorf("following addresses: %w", err)
	}
	defer func() { cancel(); drain(addrs) }()
	if err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), netlink.LinkSubscribeOptions{}); err != nil {
		return fmt.Errorf("following devices: %w", err)
	}
	defer func() { cancel(); drain(links) }()

	due := time.NewTimer(0)
	defer due.Stop()
	pending := true
	note := func() {
		if !pending {
			pending = true
			due.Reset(followPause)
		}
	}
	for {
		select {
		case _, open := <-addrs:
			if !open {
				return fmt.Errorf("following addresses: %w", failure)
			}
			note()
		case _, open := <-links:
			if !open {
				return fmt.Errorf("following devices: the subscription ended")
			}
			note()
		case <-due.C:
			pending = false
			changed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain lets the sender of a subscription that is being closed come to its end.
func drain[T any](ch <-chan T) {
	for range ch {
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
