package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
)

// errLost is why a connection ended that the server closed.
var errLost = errors.New("connection lost")

// connection runs one connection from start to end, with a client of its own: libovsdb's reconnect would report only
// additions, so every connection begins with a whole new snapshot that is compared with the view. up tells whether the snapshot
// was complete; onUp is called at that moment.
func (s *Session) connection(ctx context.Context, onUp func()) (up bool, err error) {
	db, err := databaseModel()
	if err != nil {
		return false, fmt.Errorf("declaring the Open vSwitch database: %w", err)
	}
	c, err := client.NewOVSDBClient(db, client.WithEndpoint("unix:"+s.cfg.Socket))
	if err != nil {
		return false, fmt.Errorf("making a client: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	dial, stop := context.WithTimeout(ctx, s.cfg.Echo)
	err = c.Connect(dial)
	stop()
	if err != nil {
		return false, err
	}
	closed, gone := make(chan struct{}), make(chan struct{})
	go func() { // libovsdb tells only those who are listening at that moment, so it may never tell this one
		defer close(gone)
		select {
		case <-c.DisconnectNotify():
			cancel(errLost)
		case <-closed:
		}
	}()
	defer func() { c.Close(); close(closed); <-gone }()
	rows := c.Cache()
	if rows == nil {
		return false, errLost
	}
	rows.AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(table string, m model.Model) { s.touch(table, uuidOf(m)) },
		UpdateFunc: func(table string, _, m model.Model) { s.touch(table, uuidOf(m)) },
		DeleteFunc: func(table string, m model.Model) { s.touch(table, uuidOf(m)) },
	})
	if err := s.monitor(ctx, c); err != nil {
		return false, fmt.Errorf("reading the database: %w", err)
	}
	s.resync(rows)
	s.setClient(c)
	defer s.setClient(nil)
	onUp()
	return true, s.serve(ctx, c, rows)
}

func (s *Session) monitor(ctx context.Context, c client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 4*s.cfg.Echo)
	defer cancel()
	root, bridge, port, iface, ipfix := &rootRow{}, &bridgeRow{}, &portRow{}, &ifaceRow{}, &ipfixRow{}
	_, err := c.Monitor(ctx, c.NewMonitor(
		client.WithTable(root, columns(root)...), client.WithTable(bridge, columns(bridge)...),
		client.WithTable(port, columns(port)...), client.WithTable(iface, columns(iface)...), client.WithTable(ipfix, columns(ipfix)...)))
	return err
}

// resync marks every row that exists, or that the view believes to exist, as to be read.
func (s *Session) resync(rows *cache.TableCache) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, table := range []string{tableRoot, tableBridge, tablePort, tableInterface, tableIPFIX} {
		for uuid := range rows.Table(table).RowsShallow() {
			s.dirty[rowID{table, uuid}] = true
		}
	}
	if s.view.root != nil {
		s.dirty[rowID{tableRoot, s.view.root.UUID}] = true
	}
	markKnown(s.dirty, tableBridge, s.view.bridges)
	markKnown(s.dirty, tablePort, s.view.ports)
	markKnown(s.dirty, tableInterface, s.view.ifaces)
	markKnown(s.dirty, tableIPFIX, s.view.ipfix)
	s.view.replan = true
}

func markKnown[R any](dirty map[rowID]bool, table string, known map[string]*R) {
	for uuid := range known {
		dirty[rowID{table, uuid}] = true
	}
}

// uuidOf is the row id in one of our row structs.
func uuidOf(m model.Model) string {
	switch r := m.(type) {
	case *rootRow:
		return r.UUID
	case *bridgeRow:
		return r.UUID
	case *portRow:
		return r.UUID
	case *ifaceRow:
		return r.UUID
	case *ipfixRow:
		return r.UUID
	}
	return ""
}

// serve reads what changed, tells it, and writes what is desired, until the connection ends.
func (s *Session) serve(ctx context.Context, c client.Client, rows *cache.TableCache) error {
	probe := time.NewTicker(s.cfg.Echo / 2)
	defer probe.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		next, err := s.round(ctx, c, rows)
		if err != nil {
			return s.why(ctx, err)
		}
		if next > 0 {
			retry.Reset(next)
		}
		select {
		case <-s.wake:
		case <-retry.C:
			s.view.replan = true
		case <-probe.C:
			if err := s.echo(ctx, c); err != nil {
				return s.why(ctx, err)
			}
		case <-ctx.Done():
			return s.why(ctx, ctx.Err())
		}
	}
}

// why prefers the reason for which the connection's context ended.
func (s *Session) why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (s *Session) echo(ctx context.Context, c client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Echo)
	defer cancel()
	if err := c.Echo(ctx); err != nil {
		return fmt.Errorf("%w: %w", errHung, err)
	}
	return nil
}

// round brings the view up to date and, if something calls for it, the database to what is desired. next is when
// something refused is to be tried again; 0: never.
func (s *Session) round(ctx context.Context, c client.Client, rows *cache.TableCache) (next time.Duration, err error) {
	for range 8 { // a step may make another possible, and our own writes come back as changes
		dirty, desired, fresh := s.take()
		s.refresh(rows, dirty)
		if fresh {
			clear(s.failures)
		}
		if desired == nil || !fresh && !s.view.replan {
			return s.nextTry(), nil
		}
		s.view.replan = false
		written, err := s.write(ctx, c, desired, fresh)
		if err != nil {
			return 0, err
		}
		for _, id := range written {
			s.touch(id.table, id.uuid)
		}
	}
	s.wakeUp()
	return 0, nil
}

// refresh reads rows into the view, and tells when the Facts differ.
func (s *Session) refresh(rows *cache.TableCache, dirty map[rowID]bool) {
	read := make(map[rowID]any, len(dirty))
	for id := range dirty {
		if id.uuid == "" {
			continue
		}
		read[id] = rows.Table(id.table).Row(id.uuid) // nil if it is gone
	}
	if s.view.update(read) || !s.told {
		s.tell()
	}
}

func (s *Session) tell() {
	s.told = true
	s.cfg.OnFacts(s.view.facts)
}
