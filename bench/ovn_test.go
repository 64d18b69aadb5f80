//go:build bench

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

// ovnTree is where OVN's programs are: a folder with unpacked packages, or empty for those of the machine.
type ovnTree struct{ root string }

// findOVN looks for OVN: TUPLENET_OVN names a folder with unpacked packages, scripts/ovn.sh makes ../tmp/ovn, or it is installed.
func findOVN() (ovnTree, error) {
	for _, root := range []string{os.Getenv("TUPLENET_OVN"), "../tmp/ovn"} {
		if _, err := os.Stat(filepath.Join(root, "usr/bin/ovn-northd")); root != "" && err == nil {
			root, err := filepath.Abs(root)
			return ovnTree{root}, err
		}
	}
	if _, err := exec.LookPath("ovn-northd"); err == nil {
		return ovnTree{}, nil
	}
	return ovnTree{}, errors.New("OVN is not here: scripts/deps.sh bench gets it (Debian packages; root)")
}

// program is the command line of one of OVN's programs: one of an unpacked tree is run by that tree's own loader, for its libraries
// are newer than the machine's.
func (o ovnTree) program(name string) []string {
	if o.root == "" {
		return []string{name}
	}
	for _, dir := range []string{"usr/sbin", "usr/bin"} {
		if p := filepath.Join(o.root, dir, name); exists(p) {
			return []string{o.root + "/usr/lib64/ld-linux-x86-64.so.2", "--library-path", o.root + "/usr/lib/x86_64-linux-gnu", p}
		}
	}
	return []string{name}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// version is what ovn-northd says of itself, such as "OVN 25.03.0".
func (o ovnTree) version(ctx context.Context) (string, error) {
	p := append(o.program("ovn-northd"), "--version")
	out, err := exec.CommandContext(ctx, p[0], p[1:]...).Output()
	if err != nil {
		return "", fmt.Errorf("version of OVN: %w", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return "OVN " + first[strings.LastIndexByte(first, ' ')+1:], nil
}

// ovn is OVN in a lab: both databases and northd where etcd would run, ovn-controller on the hosts, on the same Open vSwitch.
type ovn struct {
	*world
	ovnTree
	name    string
	central string // folder of databases and sockets
	nbctl   string // socket of the client that stays
}

func newOVN(t *testing.T, o ovnTree, name string, edges ...string) *ovn {
	t.Helper()
	w := newWorld(t, name+"o", edges...)
	version, err := o.version(w.ctx)
	w.check(err)
	w.makeBridges()
	return &ovn{world: w, ovnTree: o, name: version, central: filepath.Join(w.CentralDir(), "db")}
}

func (o *ovn) title() string { return o.name }

func (o *ovn) database(name string) string { return "unix:" + filepath.Join(o.central, name+".sock") }

// env keeps what a program leaves behind within the lab.
func ovnEnv(dir string) []string {
	var env []string
	for _, v := range []string{"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "OVN_RUNDIR", "OVN_LOGDIR", "OVN_DBDIR", "OVN_SYSCONFDIR"} {
		env = append(env, v+"="+dir)
	}
	return env
}

var quietLog = []string{"--no-chdir", "-vconsole:warn", "-vsyslog:off"}

// spawn starts one of the central daemons.
func (o *ovn) spawn(name, program string, args ...string) {
	o.t.Helper()
	command := append(ovnEnv(o.central), o.program(program)...)
	command = append(append(command, args...), "--unixctl="+filepath.Join(o.central, name+".ctl"))
	_, err := o.SpawnCentral(name, append(command, quietLog...)...)
	o.check(err)
}

// run runs a client of OVN beside the lab, which its unix sockets can be reached from.
func (o *ovn) run(program string, args ...string) string {
	o.t.Helper()
	p := append(o.program(program), args...)
	cmd := exec.CommandContext(o.ctx, p[0], p[1:]...)
	cmd.Env = append(append(os.Environ(), ovnEnv(o.central)...), "TUPLENET_LAB="+o.Dir())
	if o.nbctl != "" {
		cmd.Env = append(cmd.Env, "OVN_NB_DAEMON="+o.nbctl)
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		o.t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, complaint.String())
	}
	return out.String()
}

func (o *ovn) nb(args ...string) string { o.t.Helper(); return o.run("ovn-nbctl", args...) }

func (o *ovn) sb(args ...string) string {
	o.t.Helper()
	return o.run("ovn-sbctl", append([]string{"--db=" + o.database("sb")}, args...)...)
}

// listens waits for a unix socket.
func (o *ovn) listens(socket string) {
	o.t.Helper()
	o.check(lab.WaitFor(o.ctx, socket, func() error {
		c, err := net.Dial("unix", strings.TrimPrefix(socket, "unix:"))
		if err != nil {
			return err
		}
		return c.Close()
	}))
}

// start is described at side. Probes are off: at this size the daemons are busy for longer than the probes' default allows, and
// connections that break are not what is measured. The client stays, for it else reads the whole database at each call.
func (o *ovn) start(hosts ...int) {
	o.t.Helper()
	for _, db := range []string{"nb", "sb"} {
		file := filepath.Join(o.central, db+".db")
		o.run("ovsdb-tool", "create", file, o.root+"/usr/share/ovn/ovn-"+db+".ovsschema")
		args := []string{file, "--remote=p" + o.database(db)}
		if db == "sb" {
			args = append(args, "--remote=db:OVN_Southbound,SB_Global,connections")
		}
		o.spawn("ovsdb-"+db, "ovsdb-server", args...)
		o.listens(o.database(db))
	}
	o.sb("init")
	o.sb("set-connection", "ptcp:6642", "--", "set", "connection", ".", "inactivity_probe=0")
	o.startNbctl()
	o.nb("init")
	o.nb("set", "NB_Global", ".", "options:northd_probe_interval=0", "name=bench")
	o.spawn("northd", "ovn-northd", "--ovnnb-db="+o.database("nb"), "--ovnsb-db="+o.database("sb"))
	for _, h := range hosts {
		o.join(h)
	}
	o.check(lab.WaitFor(o.ctx, "the chassis", func() error {
		if have := strings.Fields(o.sb("--bare", "--columns=name", "list", "chassis")); len(have) < len(hosts) {
			return fmt.Errorf("only %v", have)
		}
		return nil
	}))
}

// startNbctl starts the client that stays. It puts itself into the background, so it runs beside the lab, and ends with it by its mark.
func (o *ovn) startNbctl() {
	o.t.Helper()
	pidfile := filepath.Join(o.central, "nbctl.pid")
	o.nbctl = strings.TrimSpace(o.run("ovn-nbctl", append([]string{"--db=" + o.database("nb"), "--detach", "--log-file", "--pidfile=" + pidfile}, quietLog...)...))
	b, err := os.ReadFile(pidfile)
	o.check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	o.check(err)
	o.beside = append(o.beside, lab.Process{Name: clientName, PID: pid})
}

// join is described at side.
func (o *ovn) join(host int) {
	o.t.Helper()
	h := o.Hosts()[host]
	server := strings.Replace(o.Endpoints()[0], ":2379", ":6642", 1)
	ids := []string{"ovn-remote=\"tcp:" + server + "\"", "ovn-encap-type=geneve", "ovn-encap-ip=" + h.Addrs()[0].String(), "ovn-remote-probe-interval=0",
		"ovn-openflow-probe-interval=0", "ovn-monitor-all=false", "ovn-bridge-datapath-type=netdev", "ovn-encap-csum=true"}
	set := []string{"set", "Open_vSwitch", "."}
	for _, id := range ids {
		set = append(set, "external_ids:"+id)
	}
	_, err := h.Vsctl(o.ctx, set...)
	o.check(err)
	command := append(ovnEnv("/run/openvswitch"), o.program("ovn-controller")...)
	_, err = h.Spawn("ovn-controller", append(append(command, "unix:/run/openvswitch/db.sock"), quietLog...)...)
	o.check(err)
}

// write is described at side: a transaction for each switch, as programs that have a client of their own do.
func (o *ovn) write(n network) {
	o.t.Helper()
	nb, err := dialOVSDB(strings.TrimPrefix(o.database("nb"), "unix:"), "OVN_Northbound")
	o.check(err)
	defer nb.conn.Close()
	o.check(nb.transact(row{"op": "insert", "table": "Logical_Router", "row": row{"name": "lr"}}))
	for s := range n.switches {
		o.check(nb.transact(n.ovsdbSwitch(s)...))
	}
	o.settled()
}

// ovsdbSwitch is the transaction (RFC 7047 section 5.2) that makes a switch with its ports and its link to the router.
func (n network) ovsdbSwitch(s int) []any {
	insert := func(table, name string, r row) row {
		return row{"op": "insert", "table": table, "uuid-name": name, "row": r}
	}
	named := func(names []any) []any { return []any{"set", names} }
	ls, link := switchName(s), fmt.Sprintf("r%d", s)
	ops := []any{
		insert("Logical_Router_Port", "lrp", row{"name": "lr_to_" + ls, "mac": macOf(gatewayIP(s)).String(), "networks": netOf(s).String()}),
		row{"op": "mutate", "table": "Logical_Router", "where": []any{[]any{"name", "==", "lr"}}, "mutations": []any{[]any{"ports", "insert", named([]any{[]any{"named-uuid", "lrp"}})}}},
		insert("Logical_Switch_Port", link, row{"name": ls + "_to_lr", "type": "router", "addresses": "router", "options": []any{"map", []any{[]any{"router-port", "lr_to_" + ls}}}}),
	}
	ports := []any{[]any{"named-uuid", link}}
	for i := range n.ports {
		id := fmt.Sprintf("p%d", i)
		ops = append(ops, insert("Logical_Switch_Port", id, row{"name": portName(s, i), "addresses": macOf(portIP(s, i)).String() + " " + portIP(s, i).String()}))
		ports = append(ports, []any{"named-uuid", id})
	}
	return append(ops, row{"op": "insert", "table": "Logical_Switch", "row": row{"name": ls, "ports": named(ports)}})
}

func (o *ovn) settled() { o.t.Helper(); o.nb("--wait=hv", "--timeout=300", "sync") }

func (o *ovn) rested() { o.t.Helper(); o.quiet() }

func (o *ovn) addPort(sw int, name string, ip netip.Addr) {
	o.t.Helper()
	o.nb("lsp-add", switchName(sw), name, "--", "lsp-set-addresses", name, macOf(ip).String()+" "+ip.String())
}

func (o *ovn) delPort(_ int, name string) { o.t.Helper(); o.nb("lsp-del", name) }

// gateways is described at side: a localnet port on the way outside, and the router's port there held by the first of those hosts that lives.
func (o *ovn) gateways(hosts ...int) {
	o.t.Helper()
	o.nb("ls-add", "outside", "--", "lrp-add", "lr", "lr_to_outside", "f2:02:00:00:ff:01", ownOutside(0).String(),
		"--", "lsp-add", "outside", "outside_to_lr", "--", "lsp-set-type", "outside_to_lr", "router", "--", "lsp-set-addresses", "outside_to_lr", "router",
		"--", "lsp-set-options", "outside_to_lr", "router-port=lr_to_outside", "nat-addresses=router",
		"--", "lsp-add", "outside", "outside-net", "--", "lsp-set-type", "outside-net", "localnet", "--", "lsp-set-addresses", "outside-net", "unknown",
		"--", "lsp-set-options", "outside-net", "network_name=physnet",
		"--", "lr-route-add", "lr", "0.0.0.0/0", outsideRouter.String(), "--", "lr-nat-add", "lr", "snat", outsideNAT(0).String(), "10.0.0.0/8",
		"--", "set", "NB_Global", ".", "options:bfd-min-rx=100", "options:bfd-min-tx=100", "options:bfd-mult=3")
	for k, host := range hosts {
		h := o.Hosts()[host]
		o.outsideBridge(h)
		_, err := h.Vsctl(o.ctx, "set", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings=physnet:br0")
		o.check(err)
		o.nb("lrp-set-gateway-chassis", "lr_to_outside", h.SystemID(), strconv.Itoa(20-k))
	}
	o.settled()
}

func (o *ovn) changes() map[string]change {
	wait := []string{"--wait=hv", "--timeout=60"}
	do := func(args ...string) { o.t.Helper(); o.nb(append(wait[:2:2], args...)...) }
	return map[string]change{
		"route": {
			func(k int) { do("lr-route-add", "lr", routed(k), outsideHost.String()) },
			func(k int) { do("lr-route-del", "lr", routed(k)) },
		},
		"NAT rule": {
			func(k int) {
				do("lr-nat-add", "lr", "dnat_and_snat", outsideNAT(k).String(), portIP(0, 20+k).String())
			},
			func(k int) { do("lr-nat-del", "lr", "dnat_and_snat", outsideNAT(k).String()) },
		},
	}
}
