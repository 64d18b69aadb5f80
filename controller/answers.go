package controller

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tuplenet/controller/admin"
	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/unixctl"
	"tuplenet/flows/decode"
	"tuplenet/flows/pipeline"
	"tuplenet/model"
)

// answers are what the node tells about itself when it is asked. They run outside of the loop, so they read only what may be
// read from any goroutine.
type answers struct{ l *loop }

// register adds the commands to a registry.
func (a answers) register(r *admin.Registry) {
	r.Handle(model.NodeCommandFlows, a.flows)
	r.Handle(model.NodeCommandDrops, a.drops)
	r.Handle(model.NodeCommandGroups, a.groups)
	r.Handle(model.NodeCommandPorts, a.ports)
	r.Handle(model.NodeCommandTrace, a.trace)
	r.Handle(model.NodeCommandTraceFacts, a.traceFacts)
	r.Handle(model.NodeCommandTraceArm, a.armTrace)
	r.Handle(model.NodeCommandTraceInject, a.injectTrace)
	r.Handle(model.NodeCommandTraceSeen, a.seenTrace)
	r.Handle(model.NodeCommandTraceDisarm, a.disarmTrace)
	r.Handle(model.NodeCommandHealth, a.health)
	r.Handle(model.NodeCommandAudit, a.audit)
	r.Handle(model.NodeCommandInspect, a.inspect)
	r.Handle(model.NodeCommandWays, a.ways)
}

var errNoSwitch = errors.New("no connection to the switch")

// dump reads flows of the switch, of one table or of all if table is empty.
func (a answers) dump(ctx context.Context, table string, fn func(ofconn.FlowDesc)) error {
	s := a.l.session.Load()
	if s == nil {
		return fmt.Errorf("%w at %s", errNoSwitch, a.l.socket())
	}
	if table == "" {
		return s.DumpFlows(ctx, fn)
	}
	id, err := tableID(table)
	if err != nil {
		return err
	}
	return s.DumpSelected(ctx, ofconn.Selection{Table: id}, fn)
}

// tableID finds a table by its name or number.
func tableID(text string) (uint8, error) {
	for _, t := range pipeline.Tables {
		if t.Name == text {
			return t.ID, nil
		}
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil || n == 255 {
		return 0, fmt.Errorf("table %q is neither a name nor a number below 255", text)
	}
	return uint8(n), nil
}

// allowed refuses arguments that a command does not know: a misspelt filter would answer another question.
func allowed(args map[string]string, names ...string) error {
	for _, k := range slices.Sorted(maps.Keys(args)) {
		if !slices.Contains(names, k) {
			return fmt.Errorf("unknown argument %q, expected %s", k, cmp.Or(strings.Join(names, ", "), "none"))
		}
	}
	return nil
}

// owns tells whether an owner, feature/object, is meant by a filter: it is the owner, or some of its parts in a row. So LS-1 is
// not LS-10, and "lsp/LS-1" are the ports of LS-1.
func owns(owner, filter string) bool {
	return filter == "" || strings.Contains("/"+owner+"/", "/"+filter+"/")
}

func (a answers) flows(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args, "table", "owner", "rule"); err != nil {
		return nil, err
	}
	out := []model.NodeFlow{}
	err := a.dump(ctx, args["table"], func(d ofconn.FlowDesc) {
		owner, rule, wanted := a.l.applier.Owner(d.Cookie)
		name := ruleName(rule)
		if !owns(owner, args["owner"]) || args["rule"] != "" && args["rule"] != name {
			return
		}
		f := model.NodeFlow{Table: tableName(d.Table), Priority: d.Priority, Packets: d.Packets, Bytes: d.Bytes,
			Cookie: fmt.Sprintf("0x%x", d.Cookie), Seconds: d.Duration.Seconds()}
		if wanted {
			f.Owner, f.Rule = owner, name
		}
		f.Match, f.Actions = flowTexts(d)
		out = append(out, f)
	})
	slices.SortStableFunc(out, func(x, y model.NodeFlow) int {
		return cmp.Or(cmp.Compare(tableOrder(x.Table), tableOrder(y.Table)), cmp.Compare(y.Priority, x.Priority), cmp.Compare(x.Match, y.Match))
	})
	return out, err
}

// tableOrder sorts tables as packets travel, unknown ones last.
func tableOrder(name string) int {
	if id, err := tableID(name); err == nil {
		return int(id)
	}
	return 255
}

func tableName(id uint8) string {
	if t, ok := pipeline.TableByID(id); ok {
		return t.Name
	}
	return strconv.Itoa(int(id))
}

func ruleName(id uint16) string {
	if r, ok := pipeline.RuleByID(id); ok {
		return r.Name
	}
	return ""
}

// flowTexts are match and actions with the pipeline's names, or why they cannot be read: others may put anything into the switch.
func flowTexts(d ofconn.FlowDesc) (match, actions string) {
	f, err := d.Flow()
	if err != nil {
		return "(cannot be read: " + err.Error() + ")", hex.EncodeToString(d.Instructions)
	}
	return decode.Match(f.Match), decode.Actions(f.Actions)
}

// dropKey is what drops are added up by.
type dropKey struct {
	rule  uint16
	owner string
}

func (a answers) drops(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args, "owner"); err != nil {
		return nil, err
	}
	sums := map[dropKey]*model.NodeDrop{}
	err := a.dump(ctx, "", func(d ofconn.FlowDesc) {
		owner, id, wanted := a.l.applier.Owner(d.Cookie)
		rule, known := pipeline.RuleByID(id)
		if !wanted || !known || rule.Drop == "" || !owns(owner, args["owner"]) {
			return
		}
		k := dropKey{id, owner}
		if sums[k] == nil {
			sums[k] = &model.NodeDrop{Rule: rule.Name, Table: rule.Table.Name, Reason: rule.Drop, Owner: owner}
		}
		sums[k].Packets += d.Packets
		sums[k].Bytes += d.Bytes
	})
	out := []model.NodeDrop{}
	for _, d := range sums {
		out = append(out, *d)
	}
	slices.SortFunc(out, func(x, y model.NodeDrop) int {
		return cmp.Or(cmp.Compare(tableOrder(x.Table), tableOrder(y.Table)), cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Owner, y.Owner))
	})
	return out, err
}

func (a answers) groups(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args); err != nil {
		return nil, err
	}
	s := a.l.session.Load()
	if s == nil {
		return nil, fmt.Errorf("%w at %s", errNoSwitch, a.l.socket())
	}
	found, err := s.DumpGroups(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]model.NodeGroup, 0, len(found))
	for _, d := range found {
		g := model.NodeGroup{ID: d.ID, Owner: a.l.applier.GroupOwner(d.ID)}
		if group, err := d.Group(); err != nil {
			g.Group = "(cannot be read: " + err.Error() + ")"
		} else {
			g.Group = group.String()
		}
		out = append(out, g)
	}
	slices.SortFunc(out, func(x, y model.NodeGroup) int { return cmp.Compare(x.ID, y.ID) })
	return out, nil
}

func (a answers) ports(_ context.Context, args map[string]string) (any, error) {
	if err := allowed(args); err != nil {
		return nil, err
	}
	facts := a.l.ovsFacts.get()
	out := []model.NodePort{}
	for _, name := range slices.Sorted(maps.Keys(facts.Interfaces)) {
		i := facts.Interfaces[name]
		flaps, _ := strconv.Atoi(i.BFD["flap_count"]) // absent without BFD
		out = append(out, model.NodePort{Name: name, Bridge: i.Bridge, Type: i.Type, OFPort: i.OFPort, Error: i.Error, LSP: i.IfaceID, Up: i.Up,
			MAC: i.MAC, MTU: i.MTU, Remote: i.Options["remote_ip"], BFD: i.BFD["state"], Flaps: flaps, Ours: i.Owner != ""})
	}
	return out, nil
}

// trace asks the switch itself how it would treat a packet (ofproto/trace, ovs-vswitchd(8)).
func (a answers) trace(ctx context.Context, args map[string]string) (any, error) {
	if err := allowed(args, "bridge", "flow", "packet", "actions"); err != nil {
		return nil, err
	}
	if args["flow"] == "" {
		return nil, errors.New(`give a flow, such as flow="in_port=1,icmp,…"`)
	}
	call, command := []string{cmp.Or(args["bridge"], a.l.cfg.Bridge), args["flow"]}, "ofproto/trace"
	if args["actions"] != "" { // what the packet meets first, in place of the first table
		call, command = append(call, args["actions"]), "ofproto/trace-packet-out"
	}
	for _, p := range call { // the switch takes a leading dash for an option
		if strings.HasPrefix(p, "-") {
			return nil, fmt.Errorf("%q is no flow and no bridge", p)
		}
	}
	if p := args["packet"]; p != "" {
		if _, err := hex.DecodeString(p); err != nil {
			return nil, fmt.Errorf("the packet is not in hexadecimal: %w", err)
		}
		call = append(call, p)
	}
	socket, err := unixctl.Socket(a.l.cfg.OpenFlowDir, "ovs-vswitchd")
	if err != nil {
		return nil, err
	}
	return unixctl.Call(ctx, socket, command, call...)
}

func (a answers) health(_ context.Context, args map[string]string) (any, error) {
	if err := allowed(args); err != nil {
		return nil, err
	}
	s := a.l.applier.Stats()
	s.Foreign = max(0, s.Foreign-a.l.learntMACs(s))
	h := a.l.vital.health(s, time.Now())
	h.Audit = a.l.found.audit(s)
	return h, nil
}

func (a answers) audit(_ context.Context, args map[string]string) (any, error) {
	if err := allowed(args); err != nil {
		return nil, err
	}
	return a.l.found.audit(a.l.applier.Stats()), nil
}
