package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Errors of AddPort that a caller branches on.
var (
	ErrNoBridge   = errors.New("no such bridge")
	ErrPortExists = errors.New("a port of this name exists")
)

// AddPort adds one port that is not part of Desired, at once: what plugins do for the interfaces of containers. It
// carries no owner key, so the daemon leaves it alone; p.ExternalIDs say whose it is, on the Port row and on the
// Interface row. p.Bridge must be given, p.Owner is not used. It waits for a connection until ctx ends. Whether the switch
// could use the port is seen in later Facts. Errors: ErrNoBridge, ErrPortExists.
func (s *Session) AddPort(ctx context.Context, p Port) error {
	c, rows, err := s.connected(ctx)
	if err != nil {
		return fmt.Errorf("add port %s: %w", p.Name, err)
	}
	bridge, ok := rowNamed[*bridgeRow](rows, tableBridge, func(r *bridgeRow) bool { return r.Name == p.Bridge })
	if !ok {
		return fmt.Errorf("add port %s: %w: %s", p.Name, ErrNoBridge, p.Bridge)
	}
	if _, exists := rowNamed[*ifaceRow](rows, tableInterface, func(r *ifaceRow) bool { return r.Name == p.Name }); exists {
		return fmt.Errorf("add port %s: %w", p.Name, ErrPortExists)
	}
	iface := p.row()
	iface.ExternalIDs = maps.Clone(p.ExternalIDs)
	ops, name, err := createPortOps(c, portRow{Name: p.Name, ExternalIDs: maps.Clone(p.ExternalIDs)}, iface, 0)
	if err == nil {
		ops, err = changePorts(c, ops, bridge.UUID, name, ovsdb.MutateOperationInsert)
	}
	// A caller that is told to end must know whether the port exists, to undo it: what is sent is not taken back.
	sent := context.WithoutCancel(ctx)
	if err == nil {
		err = s.transact(sent, c, ops)
	}
	if err == nil {
		err = s.seen(sent, rows, p.Name)
	}
	if err != nil {
		return fmt.Errorf("add port %s: %w", p.Name, err)
	}
	return nil
}

// seen waits until the client's copy of the database has an interface, so that DeletePort finds it.
func (s *Session) seen(ctx context.Context, rows *cache.TableCache, name string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Echo)
	defer cancel()
	for {
		if _, ok := rowNamed[*ifaceRow](rows, tableInterface, func(r *ifaceRow) bool { return r.Name == name }); ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the Open vSwitch database does not show what was written")
		case <-time.After(time.Millisecond):
		}
	}
}

// DeletePort removes a port that AddPort added, from whatever bridge it is on. mine is given the external_ids of its
// Interface row; without its consent nothing is done. It is no error if there is no such port.
func (s *Session) DeletePort(ctx context.Context, name string, mine func(externalIDs map[string]string) bool) error {
	c, rows, err := s.connected(ctx)
	if err != nil {
		return fmt.Errorf("delete port %s: %w", name, err)
	}
	port, ok := rowNamed[*portRow](rows, tablePort, func(r *portRow) bool { return r.Name == name })
	if !ok {
		return nil
	}
	if iface, ok := rowNamed[*ifaceRow](rows, tableInterface, func(r *ifaceRow) bool { return r.Name == name }); !ok || !mine(iface.ExternalIDs) {
		return nil
	}
	bridge, ok := rowNamed[*bridgeRow](rows, tableBridge, func(r *bridgeRow) bool {
		for _, uuid := range r.Ports {
			if uuid == port.UUID {
				return true
			}
		}
		return false
	})
	if !ok {
		return nil
	}
	ops, err := changePorts(c, nil, bridge.UUID, port.UUID, ovsdb.MutateOperationDelete)
	if err == nil {
		err = s.transact(ctx, c, ops)
	}
	if err != nil {
		return fmt.Errorf("delete port %s: %w", name, err)
	}
	return nil
}

// transact writes one transaction for a caller outside of Run.
func (s *Session) transact(ctx context.Context, c client.Client, ops []ovsdb.Operation) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Echo)
	defer cancel()
	results, err := c.Transact(ctx, ops...)
	if err != nil {
		return fmt.Errorf("writing to the Open vSwitch database: %w", err)
	}
	if errs, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		if len(errs) > 0 {
			err = errs[0]
		}
		return err
	}
	return nil
}

// connected is the client of the present connection with its copy of the database; without one it waits until ctx ends. A client
// loses its copy with its connection, a moment before Run knows: without it, nothing can be told of what is in the database.
func (s *Session) connected(ctx context.Context) (client.Client, *cache.TableCache, error) {
	for {
		s.mu.Lock()
		c, changed := s.client, s.changed
		s.mu.Unlock()
		if c != nil {
			if rows := c.Cache(); rows != nil {
				return c, rows, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("no connection to the Open vSwitch database at %s: %w", s.cfg.Socket, context.Cause(ctx))
		}
	}
}

// rowNamed finds a row in the client's copy, which may be read by any goroutine.
func rowNamed[R any](rows *cache.TableCache, table string, is func(R) bool) (row R, ok bool) {
	for _, m := range rows.Table(table).RowsShallow() {
		if r, isRow := m.(R); isRow && is(r) {
			return r, true
		}
	}
	return row, false
}
