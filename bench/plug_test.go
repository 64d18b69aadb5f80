//go:build bench

package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"tuplenet/e2e/lab"
)

// ovsdb is a connection to a database server that stays (RFC 7047), as programs have that write more than once.
type ovsdb struct {
	name string // of the database
	conn net.Conn
	in   *json.Decoder
}

func dialOVSDB(socket, database string) (*ovsdb, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	return &ovsdb{database, c, json.NewDecoder(c)}, nil
}

// transact carries out operations (section 5.2).
func (o *ovsdb) transact(ops ...any) error {
	if err := json.NewEncoder(o.conn).Encode(map[string]any{"method": "transact", "id": 1, "params": append([]any{o.name}, ops...)}); err != nil {
		return err
	}
	var answer struct {
		Result []struct{ Error, Details string }
		Error  any
	}
	if err := o.in.Decode(&answer); err != nil {
		return err
	}
	err := error(nil)
	for _, r := range answer.Result {
		if r.Error != "" {
			err = errors.Join(err, fmt.Errorf("%s: %s", r.Error, r.Details))
		}
	}
	if answer.Error != nil {
		err = errors.Join(err, fmt.Errorf("%v", answer.Error))
	}
	return err
}

// plugger plugs a workload into br-int and out of it as a plugin with a connection of its own does, so that the processor time of
// `ovs-vsctl`, alike on both sides, does not hide what differs.
type plugger struct {
	w    *world
	db   *ovsdb
	load *lab.Workload
}

func (w *world) plugger(l *lab.Workload) *plugger {
	w.t.Helper()
	db, err := dialOVSDB(l.Host.SocketPath("db.sock"), "Open_vSwitch")
	w.check(err)
	w.t.Cleanup(func() { db.conn.Close() })
	return &plugger{w, db, l}
}

type row = map[string]any

func (p *plugger) bridge(mutation string, ports any) row {
	return row{"op": "mutate", "table": "Bridge", "where": []any{[]any{"name", "==", "br-int"}}, "mutations": []any{[]any{"ports", mutation, ports}}}
}

// configured makes ovs-vswitchd look (ovs-vswitchd.conf.db(5), next_cfg).
func configured() row {
	return row{"op": "mutate", "table": "Open_vSwitch", "where": []any{}, "mutations": []any{[]any{"next_cfg", "+=", 1}}}
}

func (p *plugger) in() {
	p.w.t.Helper()
	device := p.load.Device()
	p.w.check(p.db.transact(
		row{"op": "insert", "table": "Interface", "uuid-name": "i", "row": row{"name": device, "external_ids": []any{"map", []any{[]any{"iface-id", p.load.Port()}}}}},
		row{"op": "insert", "table": "Port", "uuid-name": "p", "row": row{"name": device, "interfaces": []any{"named-uuid", "i"}}},
		p.bridge("insert", []any{"named-uuid", "p"}), configured()))
}

func (p *plugger) out() {
	p.w.t.Helper()
	var found struct {
		Result []struct {
			Rows []struct {
				UUID []any `json:"_uuid"`
			}
		}
	}
	p.w.check(json.NewEncoder(p.db.conn).Encode(map[string]any{"method": "transact", "id": 1, "params": []any{p.db.name,
		row{"op": "select", "table": "Port", "where": []any{[]any{"name", "==", p.load.Device()}}, "columns": []any{"_uuid"}}}}))
	p.w.check(p.db.in.Decode(&found))
	if len(found.Result) != 1 || len(found.Result[0].Rows) != 1 {
		p.w.t.Fatalf("ports named %s: %v", p.load.Device(), found)
	}
	p.w.check(p.db.transact(p.bridge("delete", found.Result[0].Rows[0].UUID), configured()))
}

// number waits for the OpenFlow number of the port.
func (p *plugger) number() (n int) {
	p.w.t.Helper()
	p.w.check(lab.WaitFor(p.w.ctx, "an OpenFlow port", func() (err error) {
		if n, err = p.load.OFPort(p.w.ctx); err == nil && n < 1 {
			err = fmt.Errorf("it is %d", n)
		}
		return err
	}))
	return n
}
