package ovsdb

import (
	"context"
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// maxSteps is how many steps go into one transaction.
const maxSteps = 200

// operations are the OVSDB operations of one step. n makes the names of its new rows unique within a transaction.
func (st step) operations(c client.Client, root string, n int) ([]ovsdb.Operation, error) {
	switch st.action {
	case createBridge:
		return createBridgeOps(c, root, st.fix, n)
	case fixBridge:
		row := st.fix
		row.UUID = st.bridge
		return c.Where(&row).Update(&row, &row.FailMode, &row.Protocols, &row.OtherConfig)
	case createPort:
		iface := st.want.row()
		port := portRow{Name: st.want.Name, ExternalIDs: map[string]string{OwnerKey: st.want.Owner}}
		ops, name, err := createPortOps(c, port, iface, n)
		if err != nil {
			return nil, err
		}
		return changePorts(c, ops, st.bridge, name, ovsdb.MutateOperationInsert)
	case fixPort:
		return fixPortOps(c, st)
	case setIPFIX, clearIPFIX:
		return ipfixOps(c, st, n)
	case deletePort:
		return changePorts(c, nil, st.bridge, st.port, ovsdb.MutateOperationDelete)
	}
	return nil, fmt.Errorf("no such step: %d", st.action)
}

func createBridgeOps(c client.Client, root string, bridge bridgeRow, n int) ([]ovsdb.Operation, error) {
	ops, port, err := createPortOps(c, portRow{Name: bridge.Name}, &ifaceRow{Name: bridge.Name, Type: "internal"}, n)
	if err != nil {
		return nil, err
	}
	bridge.UUID, bridge.Ports = fmt.Sprintf("bridge%d", n), []string{port}
	create, err := c.Create(&bridge)
	if err != nil {
		return nil, err
	}
	row := rootRow{UUID: root}
	link, err := c.Where(&row).Mutate(&row, model.Mutation{Field: &row.Bridges, Mutator: ovsdb.MutateOperationInsert, Value: []string{bridge.UUID}})
	return append(append(ops, create...), link...), err
}

// createPortOps makes the rows of a port and its interface; the name refers to the port row within the transaction.
func createPortOps(c client.Client, port portRow, iface *ifaceRow, n int) (ops []ovsdb.Operation, name string, err error) {
	iface.UUID, port.UUID = fmt.Sprintf("iface%d", n), fmt.Sprintf("port%d", n)
	port.Interfaces = []string{iface.UUID}
	ops, err = c.Create(iface)
	if err != nil {
		return nil, "", err
	}
	more, err := c.Create(&port)
	return append(ops, more...), port.UUID, err
}

func changePorts(c client.Client, ops []ovsdb.Operation, bridge, port string, how ovsdb.Mutator) ([]ovsdb.Operation, error) {
	row := bridgeRow{UUID: bridge}
	link, err := c.Where(&row).Mutate(&row, model.Mutation{Field: &row.Ports, Mutator: how, Value: []string{port}})
	return append(ops, link...), err
}

func fixPortOps(c client.Client, st step) ([]ovsdb.Operation, error) {
	iface := st.want.row()
	iface.UUID = st.iface
	ops, err := c.Where(iface).Update(iface, &iface.Type, &iface.Options, &iface.ExternalIDs, &iface.BFD, &iface.OFPortRequest)
	if err != nil {
		return nil, err
	}
	port := portRow{UUID: st.port}
	owner, err := c.Where(&port).Mutate(&port,
		model.Mutation{Field: &port.ExternalIDs, Mutator: ovsdb.MutateOperationDelete, Value: []string{OwnerKey}},
		model.Mutation{Field: &port.ExternalIDs, Mutator: ovsdb.MutateOperationInsert, Value: map[string]string{OwnerKey: st.want.Owner}})
	return append(ops, owner...), err
}

// transact writes steps in one transaction. refused is the database's reason for not doing it; err means that the session is no good.
// done are the rows that were written, to be read again.
func transact(ctx context.Context, c client.Client, root string, steps []step) (done []rowID, refused, err error) {
	var ops []ovsdb.Operation
	for n, st := range steps {
		more, err := st.operations(c, root, n)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", st.action, st.name, err), nil
		}
		ops = append(ops, more...)
		done = append(done, rowID{tableBridge, st.bridge}, rowID{tablePort, st.port}, rowID{tableInterface, st.iface})
	}
	results, err := c.Transact(ctx, ops...)
	if err != nil {
		return nil, nil, fmt.Errorf("writing to the Open vSwitch database: %w", err)
	}
	if errs, err := ovsdb.CheckOperationResults(results, ops); err != nil {
		if len(errs) > 0 {
			err = errs[0]
		}
		return nil, err, nil
	}
	for i, r := range results {
		if r.UUID.GoUUID != "" && i < len(ops) {
			done = append(done, rowID{ops[i].Table, r.UUID.GoUUID})
		}
	}
	return done, nil, nil
}
