package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tuplenet/datapath/ofconn"
	"tuplenet/flows/compile"
	"tuplenet/model"
)

// translations makes connections go with the NAT rule that made them. It keeps in a file which translations this node may
// have connections of: one is noted before its flows are in the switch, and leaves the file once its connections are forgotten.
// So it also finds those whose rule went while no daemon ran. It belongs to the loop.
type translations struct {
	file string
	log  *slog.Logger

	wanted counted[compile.Translation]
	// known are those in the file.
	known map[compile.Translation]leaving
	// flushed receives what a running flush has done; nil if none runs.
	flushed chan []compile.Translation
}

// forgetter is the part of an OpenFlow session that forgets connections.
type forgetter interface {
	FlushZone(ctx context.Context, zone uint16) error
	FlushConnections(ctx context.Context, c ofconn.Connections) error
}

// leaving is how far a translation is that is not wanted any more; zero for one that is.
type leaving struct {
	commit    int64     // the one after which the switch has no flows of it
	forgotten time.Time // when its connections were forgotten for the first time
}

// forgetAgain is after how long connections are forgotten once more: for a moment after its flows are gone the switch goes on by
// what it has cached of them, and may make connections anew (ovs-vswitchd.conf.db(5), max-revalidator: half a second).
const forgetAgain = 3 * time.Second

func newTranslations(runDir string, log *slog.Logger) *translations {
	t := &translations{file: filepath.Join(runDir, "translations.json"), log: log.With("component", "translations"),
		wanted: counted[compile.Translation]{}, known: map[compile.Translation]leaving{}}
	t.restore()
	return t
}

// note takes in what is wanted with the commit that is about to be made.
func (t *translations) note(commit int64) {
	changed := false
	for x := range t.wanted {
		_, there := t.known[x]
		t.known[x] = leaving{}
		changed = changed || !there
	}
	for x, l := range t.known {
		if l.commit == 0 && t.wanted[x] == 0 {
			t.known[x] = leaving{commit: commit}
		}
	}
	if changed {
		t.save()
	}
}

// settle forgets the connections of translations whose flows have left the switch with an acknowledged commit. It does not
// wait for the switch: what it has done is noted by a later call.
func (t *translations) settle(ctx context.Context, now time.Time, acknowledged int64, s forgetter) {
	select {
	case done := <-t.flushed: // never ready while it is nil
		t.flushed = nil
		t.done(now, done)
	default:
	}
	gone := t.gone(now, acknowledged)
	if t.flushed != nil || len(gone) == 0 {
		return
	}
	kept := map[uint16]bool{}
	for x := range t.wanted {
		kept[x.InZone], kept[x.OutZone] = true, true
	}
	t.flushed = make(chan []compile.Translation, 1)
	go func(result chan<- []compile.Translation) { result <- t.flush(ctx, s, gone, kept) }(t.flushed)
}

// done notes that the connections of some translations are forgotten, the first or the last time.
func (t *translations) done(now time.Time, all []compile.Translation) {
	changed := false
	for _, x := range all {
		switch l := t.known[x]; {
		case l.commit == 0: // wanted again meanwhile
		case l.forgotten.IsZero():
			l.forgotten = now
			t.known[x] = l
		default:
			delete(t.known, x)
			changed = true
			t.log.Info("connections of a NAT rule that is gone are forgotten", "type", x.Type, "inside", x.Inside, "external", x.External)
		}
	}
	if changed {
		t.save()
	}
}

// gone are the translations whose flows have left the switch and whose connections are to be forgotten now, sorted.
func (t *translations) gone(now time.Time, acknowledged int64) (gone []compile.Translation) {
	for x, l := range t.known {
		if l.commit != 0 && l.commit <= acknowledged && now.Sub(l.forgotten) >= forgetAgain {
			gone = append(gone, x)
		}
	}
	slices.SortFunc(gone, func(a, b compile.Translation) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return gone
}

// flush forgets the connections of some translations, and returns those whose are forgotten: zone by zone where no other
// translation needs the zone.
func (t *translations) flush(ctx context.Context, s forgetter, gone []compile.Translation, kept map[uint16]bool) (done []compile.Translation) {
	emptied := map[uint16]bool{}
	forget := func(c ofconn.Connections) error {
		if kept[c.Zone] {
			err := s.FlushConnections(ctx, c)
			if e := new(ofconn.Error); !errors.As(err, &e) {
				return err
			}
			// Before Open vSwitch 3.1 there is only all or nothing.
		}
		if emptied[c.Zone] {
			return nil
		}
		emptied[c.Zone] = true
		return s.FlushZone(ctx, c.Zone)
	}
	for _, x := range gone {
		for _, c := range connectionsOf(x) {
			if err := forget(c); err != nil {
				t.log.Debug("connections are not forgotten yet", "external", x.External, "err", err)
				return done
			}
		}
		done = append(done, x)
	}
	return done
}

// connectionsOf selects the connections that a translation has made.
func connectionsOf(x compile.Translation) (all []ofconn.Connections) {
	if x.Type != model.NATDestination {
		c := ofconn.Connections{Zone: x.OutZone, ReplyDst: x.External}
		if x.Inside.IsSingleIP() {
			c.OrigSrc = x.Inside.Addr()
		}
		all = append(all, c)
	}
	if x.Type != model.NATSource {
		all = append(all,
			ofconn.Connections{Zone: x.InZone, OrigDst: x.External, ReplySrc: x.Inside.Addr()},
			ofconn.Connections{Zone: x.OutZone, OrigDst: x.Inside.Addr(), ReplyDst: x.External}) // hairpins
	}
	return all
}

func (t *translations) save() {
	list := make([]compile.Translation, 0, len(t.known))
	for x := range t.known {
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b compile.Translation) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	b, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(t.file+".new", b, 0o644)
	}
	if err == nil {
		err = os.Rename(t.file+".new", t.file)
	}
	if err != nil {
		t.log.Warn("which NAT rules have connections is not kept over a restart", "err", err)
	}
}

// restore takes in what an earlier daemon noted. All of it counts as wanted until the first commit says otherwise.
func (t *translations) restore() {
	b, err := os.ReadFile(t.file)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var list []compile.Translation
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		t.log.Warn("connections of NAT rules that went while the daemon was away are not forgotten", "err", fmt.Errorf("%s: %w", t.file, err))
		return
	}
	for _, x := range list {
		t.known[x] = leaving{}
	}
}
