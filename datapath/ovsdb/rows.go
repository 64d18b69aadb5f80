package ovsdb

import (
	"maps"
	"reflect"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/model"
)

// The tables and columns of the Open_vSwitch database that are monitored and written (ovs-vswitchd.conf.db(5)). Columns that
// change all the time (statistics) are left out on purpose: what is not in these structs is not monitored, and
// costs nothing. (The columns must be named in the monitor request, else libovsdb asks for all of them, and then drops an update
// which has a column that the struct lacks, with all its other columns.) The Clone methods spare libovsdb's default, a round trip through JSON.

const (
	tableRoot      = "Open_vSwitch"
	tableBridge    = "Bridge"
	tablePort      = "Port"
	tableInterface = "Interface"
)

type rootRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Bridges     []string          `ovsdb:"bridges"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
	OVSVersion  *string           `ovsdb:"ovs_version"`
}

type bridgeRow struct {
	UUID         string            `ovsdb:"_uuid"`
	Name         string            `ovsdb:"name"`
	DatapathType string            `ovsdb:"datapath_type"`
	FailMode     *string           `ovsdb:"fail_mode"`
	Protocols    []string          `ovsdb:"protocols"`
	OtherConfig  map[string]string `ovsdb:"other_config"`
	ExternalIDs  map[string]string `ovsdb:"external_ids"`
	Ports        []string          `ovsdb:"ports"`
	IPFIX        *string           `ovsdb:"ipfix"`
}

type portRow struct {
	UUID        string            `ovsdb:"_uuid"`
	Name        string            `ovsdb:"name"`
	ExternalIDs map[string]string `ovsdb:"external_ids"`
	Interfaces  []string          `ovsdb:"interfaces"`
}

type ifaceRow struct {
	UUID          string            `ovsdb:"_uuid"`
	Name          string            `ovsdb:"name"`
	Type          string            `ovsdb:"type"`
	Options       map[string]string `ovsdb:"options"`
	ExternalIDs   map[string]string `ovsdb:"external_ids"`
	BFD           map[string]string `ovsdb:"bfd"`
	BFDStatus     map[string]string `ovsdb:"bfd_status"`
	OFPort        *int              `ovsdb:"ofport"` // nil: not looked at yet; -1: failed
	OFPortRequest *int              `ovsdb:"ofport_request"`
	Error         *string           `ovsdb:"error"`
	LinkState     *string           `ovsdb:"link_state"`
	MACInUse      *string           `ovsdb:"mac_in_use"`
	MTU           *int              `ovsdb:"mtu"`
}

func databaseModel() (model.ClientDBModel, error) {
	return model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		tableRoot: &rootRow{}, tableBridge: &bridgeRow{}, tablePort: &portRow{}, tableInterface: &ifaceRow{},
		tableIPFIX: &ipfixRow{},
	})
}

// columns are pointers to the fields of a row struct that are columns to monitor, as libovsdb wants them.
func columns(row any) (fields []any) {
	v := reflect.ValueOf(row).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("ovsdb") != "_uuid" {
			fields = append(fields, v.Field(i).Addr().Interface())
		}
	}
	return fields
}

func (r *rootRow) CloneModel() model.Model {
	c := *r
	c.Bridges, c.ExternalIDs, c.OVSVersion = slices.Clone(r.Bridges), maps.Clone(r.ExternalIDs), clonePtr(r.OVSVersion)
	return &c
}

func (r *rootRow) CloneModelInto(dst model.Model) { *dst.(*rootRow) = *r.CloneModel().(*rootRow) }

func (r *bridgeRow) CloneModel() model.Model {
	c := *r
	c.IPFIX = clonePtr(r.IPFIX)
	c.FailMode, c.Protocols, c.Ports = clonePtr(r.FailMode), slices.Clone(r.Protocols), slices.Clone(r.Ports)
	c.OtherConfig, c.ExternalIDs = maps.Clone(r.OtherConfig), maps.Clone(r.ExternalIDs)
	return &c
}

func (r *bridgeRow) CloneModelInto(dst model.Model) { *dst.(*bridgeRow) = *r.CloneModel().(*bridgeRow) }

func (r *portRow) CloneModel() model.Model {
	c := *r
	c.ExternalIDs, c.Interfaces = maps.Clone(r.ExternalIDs), slices.Clone(r.Interfaces)
	return &c
}

func (r *portRow) CloneModelInto(dst model.Model) { *dst.(*portRow) = *r.CloneModel().(*portRow) }

func (r *ifaceRow) CloneModel() model.Model {
	c := *r
	c.Options, c.ExternalIDs = maps.Clone(r.Options), maps.Clone(r.ExternalIDs)
	c.BFD, c.BFDStatus = maps.Clone(r.BFD), maps.Clone(r.BFDStatus)
	c.OFPort, c.OFPortRequest, c.MTU = clonePtr(r.OFPort), clonePtr(r.OFPortRequest), clonePtr(r.MTU)
	c.Error, c.LinkState, c.MACInUse = clonePtr(r.Error), clonePtr(r.LinkState), clonePtr(r.MACInUse)
	return &c
}

func (r *ifaceRow) CloneModelInto(dst model.Model) { *dst.(*ifaceRow) = *r.CloneModel().(*ifaceRow) }

func clonePtr[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// value is what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
