package ovsdb

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// IPFIX is what the integration bridge tells about packets (RFC 7011; the IPFIX table of ovs-vswitchd.conf.db(5)).
type IPFIX struct {
	// Collector is where records go, as ADDRESS:PORT, IPv6 in brackets.
	Collector string
	// Sampling: one of so many packets is told of, 1…4294967295.
	Sampling int
	// Domain is the id of the observation domain.
	Domain uint32
}

const tableIPFIX = "IPFIX"

type ipfixRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Targets     []string          `ovsdb:"targets"`
	Sampling    *int              `ovsdb:"sampling"`
	Domain      *int              `ovsdb:"obs_domain_id"`
	Point       *int              `ovsdb:"obs_point_id"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
}

func (r *ipfixRow) CloneModel() model.Model {
	c := *r
	c.Targets, c.ExternalIDs = slices.Clone(r.Targets), maps.Clone(r.ExternalIDs)
	c.Sampling, c.Domain, c.Point = clonePtr(r.Sampling), clonePtr(r.Domain), clonePtr(r.Point)
	return &c
}

func (r *ipfixRow) CloneModelInto(dst model.Model) { *dst.(*ipfixRow) = *r.CloneModel().(*ipfixRow) }

// row is how the database writes it. The id of the observation point is 0: there is one a domain.
func (x IPFIX) row() *ipfixRow {
	domain, point := int(x.Domain), 0
	return &ipfixRow{Targets: []string{x.Collector}, Sampling: &x.Sampling, Domain: &domain, Point: &point,
		ExternalIDs: map[string]string{OwnerKey: defaultOwner}}
}

// ipfixStep is the name of the settings among steps and failures.
const ipfixStep = "ipfix"

// planIPFIX compares the settings of the integration bridge with what is desired. Those that somebody else made stay.
func (v *view) planIPFIX(d *Desired, refused map[string]string) []step {
	b := v.bridgeNamed(d.Bridge)
	if b == nil || b.IPFIX == nil && d.IPFIX == nil {
		return nil
	}
	set := step{name: ipfixStep, action: setIPFIX, bridge: b.UUID}
	if d.IPFIX != nil {
		set.ipfix = d.IPFIX.row()
	}
	if b.IPFIX == nil {
		return []step{set}
	}
	row := v.ipfix[*b.IPFIX]
	switch {
	case row == nil: // its row is on the way
	case row.ExternalIDs[OwnerKey] == "":
		if d.IPFIX != nil {
			refused[ipfixStep] = fmt.Sprintf("bridge %s has IPFIX settings that tuplenet did not make: `ovs-vsctl clear bridge %s ipfix` removes them", d.Bridge, d.Bridge)
		}
	case d.IPFIX == nil:
		return []step{{name: ipfixStep, action: clearIPFIX, bridge: b.UUID}}
	case !sameIPFIX(row, set.ipfix):
		return []step{set}
	}
	return nil
}

func sameIPFIX(a, b *ipfixRow) bool {
	return slices.Equal(a.Targets, b.Targets) && value(a.Sampling) == value(b.Sampling) && value(a.Domain) == value(b.Domain) && value(a.Point) == value(b.Point)
}

// ipfixOps makes new settings, or none, those of the bridge. Rows that no bridge uses go by themselves.
func ipfixOps(c client.Client, st step, n int) ([]ovsdb.Operation, error) {
	bridge := bridgeRow{UUID: st.bridge}
	var ops []ovsdb.Operation
	if st.action == setIPFIX {
		row := *st.ipfix
		row.UUID = fmt.Sprintf("ipfix%d", n)
		create, err := c.Create(&row)
		if err != nil {
			return nil, err
		}
		ops, bridge.IPFIX = create, &row.UUID
	}
	update, err := c.Where(&bridge).Update(&bridge, &bridge.IPFIX)
	return append(ops, update...), err
}
