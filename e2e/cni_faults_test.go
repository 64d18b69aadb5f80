//go:build integration

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"tuplenet/e2e/lab"
)

// whole is a configuration as a plugin gets it, with what libcni adds.
func (c *cniFleet) whole(version string, more object) object {
	o := c.conf(object{"cniVersion": version, "name": "pods"})
	maps.Copy(o, more)
	return o
}

func TestT53_ASmallSubnetFillsUpWithAClearErrorAndRecovers(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-small"})
	c.start()
	c.install("small", "1.0.0", c.conf(object{"subnet": "10.20.1.9/28"})) // 1 … 14, 9 is the gateway, 1 is LR-central's
	var pods []*pod
	for i := range 12 {
		pods = append(pods, c.pod(c.Hosts()[i%2]))
	}
	ips := make([]string, len(pods))
	everyone(pods, func(i int, p *pod) {
		out, err := p.tool("add", "small")
		if err != nil {
			t.Errorf("%v\n%s", err, out)
			return
		}
		ips[i] = addresses(c.result(out))[0].String()
	})
	slices.Sort(ips)
	if want := "10.20.1.10 10.20.1.11 10.20.1.12 10.20.1.13 10.20.1.14 10.20.1.2 10.20.1.3 10.20.1.4 10.20.1.5 10.20.1.6 10.20.1.7 10.20.1.8"; strings.Join(ips, " ") != want {
		t.Errorf("given out are %v, want %s", ips, want)
	}
	late := c.pod(c.Hosts()[0])
	late.fails("add", "small", "no free address in 10.20.1.0/28 is left")
	out, _, err := late.plugin("ADD", c.whole("1.0.0", object{"subnet": "10.20.1.9/28"}))
	if e := c.refusal(out, err); e.Code != types.ErrTryAgainLater {
		t.Errorf("code %d, want %d: %s", e.Code, types.ErrTryAgainLater, e.Msg)
	}
	gone := pods[3]
	gone.run("del", "small")
	if r := late.add("small"); len(addresses(r)) != 1 {
		t.Errorf("%v", r)
	}
	everyone(append(pods, late), func(_ int, p *pod) {
		if out, err := p.tool("del", "small"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	c.nothingLeft()
}

func TestT53_AFailedADDLeavesNothingAndSaysWhy(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-rollback"})
	c.start()
	alice := c.Host("alice")
	p := c.pod(alice)
	c.on(alice, "ip netns exec "+p.ns+" ip link add eth0 type bridge")
	for _, r := range []struct {
		what  string
		conf  object
		env   []string
		code  uint
		words string
	}{
		{"the interface exists", nil, nil, types.ErrInvalidNetNS, "interface eth0 already"},
		{"no such namespace", nil, []string{"CNI_NETNS=/run/netns/never"}, types.ErrInvalidNetNS, "never"},
		{"the namespace of the host", nil, []string{"CNI_NETNS=/proc/self/ns/net"}, types.ErrInvalidNetNS, "namespace"},
		{"no such switch", object{"switchname": "LS_A"}, nil, types.ErrInvalidNetworkConfig, "switch LS_A not found"},
		{"no switch", object{"switchname": ""}, nil, types.ErrInvalidNetworkConfig, "switchname is missing"},
		{"no subnet", object{"subnet": ""}, nil, types.ErrInvalidNetworkConfig, "no subnet"},
		{"nonsense as subnet", object{"subnet": "10.20.1.1"}, nil, types.ErrInvalidNetworkConfig, "not of the form"},
		{"the broadcast address as gateway", object{"subnet": "10.20.1.255/24"}, nil, types.ErrInvalidNetworkConfig, "broadcast"},
		{"no etcd", object{"etcd_cluster": "127.0.0.1:1", "timeout": 2}, nil, types.ErrTryAgainLater, "store unreachable"},
		{"no such CA", object{"etcd_cacert": "/nowhere.pem"}, nil, types.ErrInvalidNetworkConfig, "/nowhere.pem"},
		{"an MTU that nothing carries", object{"mtu": 100}, nil, types.ErrInvalidNetworkConfig, "mtu 100"},
		{"an address of others", nil, []string{"CNI_ARGS=IP=10.20.1.1"}, types.ErrInvalidNetworkConfig, "address of the gateway"},
		{"an address elsewhere", nil, []string{"CNI_ARGS=IP=10.20.9.1"}, types.ErrInvalidNetworkConfig, "not in the subnet"},
		{"a MAC that is none", object{"runtimeConfig": object{"mac": "1:2"}}, nil, types.ErrInvalidNetworkConfig, "MAC"},
		{"no bridge", object{"bridge": "br-none", "timeout": 3}, nil, types.ErrTryAgainLater, "no bridge br-none"},
		{"no Open vSwitch", object{"ovsdb_socket": "/run/none.sock", "timeout": 1}, nil, types.ErrTryAgainLater, "is Open vSwitch running?"},
		{"a version that is too new", object{"cniVersion": "9.0.0"}, nil, types.ErrIncompatibleCNIVersion, "incompatible"},
	} {
		out, complaint, err := p.plugin("ADD", c.whole("1.0.0", r.conf), r.env...)
		if e := c.refusal(out, err); e.Code != r.code || !strings.Contains(e.Error(), r.words) || complaint != "" {
			t.Errorf("%s: code %d, %q, want %d and %q; on standard error: %q", r.what, e.Code, e.Error(), r.code, r.words, complaint)
		}
		if left, err := c.trace(alice); left != "" || err != nil {
			t.Errorf("%s: left on the host: %s %v", r.what, left, err)
		}
		c.check(c.keysLeft())
	}
	// An ADD for a container that has its interface is refused, and does it no harm.
	had := c.pod(alice)
	for i := range 3 {
		out, _, err := had.plugin("ADD", c.whole("1.0.0", nil))
		if i == 0 {
			c.check(err)
		} else if e := c.refusal(out, err); e.Code != 100 || !strings.Contains(e.Msg, "an earlier ADD was not followed by a DEL") {
			t.Errorf("once more: %+v", e)
		}
		c.reach(had.workload(), bobIP)
	}
	_, _, err := had.plugin("DEL", c.whole("1.0.0", nil))
	c.check(err)
	c.nothingLeft()
	c.inAnotherNamespace(alice)
	// Without the daemon nothing binds the port: everything is made, and taken away again.
	c.check(alice.StopDaemon(c.ctx))
	q := c.pod(alice)
	out, _, err := q.plugin("ADD", c.whole("1.0.0", object{"timeout": 5})) // on a busy machine it takes one to get there
	if e := c.refusal(out, err); e.Code != types.ErrTryAgainLater || !strings.Contains(e.Msg, "is its daemon (tuplenet) running?") {
		t.Errorf("without the daemon: %+v", e)
	}
	if links := c.on(alice, "ip netns exec "+q.ns+" ip -o link"); strings.Contains(links, "eth0") {
		t.Errorf("left in the container: %s", links)
	}
	c.nothingLeft()
}

// inAnotherNamespace runs commands of the plugin where Open vSwitch can be asked, but has no devices: as in a container that
// was given the socket. To it all containers on the host seem to be gone, and it must not clear anything away.
func (c *cniFleet) inAnotherNamespace(h *lab.Host) {
	c.t.Helper()
	p := c.pod(h)
	out, _, err := p.plugin("ADD", c.whole("1.1.0", nil))
	c.check(err)
	elsewhere := c.pod(h)
	conf, err := json.Marshal(c.whole("1.1.0", object{"timeout": 4}))
	c.check(err)
	for _, command := range []string{"ADD", "GC"} {
		var said bytes.Buffer
		err := h.ExecWith(c.ctx, lab.Streams{In: bytes.NewReader(conf), Out: &said}, "ip", "netns", "exec", elsewhere.ns, "env", "CNI_PATH="+bin,
			"CNI_COMMAND="+command, "CNI_CONTAINERID=x", "CNI_IFNAME=eth9", "CNI_NETNS=/proc/1/ns/net", bin+"/tpcni")
		if e := c.refusal(said.String(), err); e.Code != types.ErrTryAgainLater || !strings.Contains(e.Msg, "in this network namespace?") {
			c.t.Errorf("%s in another namespace: %+v", command, e)
		}
	}
	c.reach(p.workload(), bobIP)
	if _, _, err := p.plugin("DEL", c.whole("1.1.0", nil)); err != nil {
		c.t.Errorf("DEL: %v after %s", err, out)
	}
	c.nothingLeft()
}

func TestT53_ADDWaitsForADaemonThatRestarts(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-restart"})
	c.start()
	alice := c.Host("alice")
	c.install("pods", "1.0.0", c.conf(nil))
	for _, stop := range []func(context.Context) error{alice.StopDaemon, alice.KillDaemon} {
		c.check(stop(c.ctx))
		p := c.pod(alice)
		answer := make(chan error, 1)
		go func() {
			_, err := p.tool("add", "pods")
			answer <- err
		}()
		c.eventually("the port of the container in the switch", func() error {
			left, err := c.trace(alice)
			if err == nil && left == "" {
				err = fmt.Errorf("nothing yet")
			}
			return err
		})
		select {
		case err := <-answer:
			t.Fatalf("ADD did not wait for the daemon: %v", err)
		default:
		}
		c.daemon(alice)
		c.check(<-answer)
		c.reach(p.workload(), bobIP)
		p.run("del", "pods")
		c.nothingLeft()
	}
}

func TestT54_DELSucceedsWhateverIsGoneAlready(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-del"})
	c.start()
	alice := c.Host("alice")
	c.install("pods", "1.0.0", c.conf(nil))
	port := func() string {
		return strings.TrimSpace(c.on(alice, "ovs-vsctl --columns=name --bare find Interface external_ids:tuplenet-plugin=cni"))
	}
	for what, before := range map[string]func(p *pod){
		"the namespace":                   func(p *pod) { c.on(alice, "ip netns del "+p.ns) },
		"the port of the switch":          func(p *pod) { c.on(alice, "ovs-vsctl del-port "+port()) },
		"the interface":                   func(p *pod) { c.on(alice, "ip netns exec "+p.ns+" ip link del eth0") },
		"the logical port":                func(p *pod) { c.tpctl("lsp del LS-A " + logicalPort(c)) },
		"the namespace and the interface": func(p *pod) { c.on(alice, "ip link del "+port()); c.on(alice, "ip netns del "+p.ns) },
		"everything":                      func(p *pod) { p.run("del", "pods") },
	} {
		p := c.pod(alice)
		p.add("pods")
		before(p)
		for range 3 {
			out, complaint, err := p.plugin("DEL", c.whole("1.0.0", nil), "CNI_CONTAINERID="+containerOf(p))
			if err != nil || out != "" || complaint != "" {
				t.Errorf("DEL without %s: %v: %s%s", what, err, out, complaint)
			}
		}
		c.nothingLeft()
	}
	never := c.pod(alice)
	never.run("del", "pods")
	if out, _, err := never.plugin("DEL", c.whole("0.3.0", nil), "CNI_NETNS="); err != nil {
		t.Errorf("DEL without a namespace: %v: %s", err, out)
	}
	// The same name on another host is another's, though it cannot be in real life.
	p := c.pod(alice)
	p.add("pods")
	if out, _, err := c.pluginOn(c.Host("bob"), "DEL", c.whole("1.0.0", nil), "CNI_CONTAINERID="+containerOf(p), "CNI_IFNAME=eth0"); err != nil {
		t.Errorf("DEL on another host: %v: %s", err, out)
	}
	c.reach(p.workload(), bobIP)
	// While etcd is away the address cannot be given back: the runtime has to come again.
	out, _, err := p.plugin("DEL", c.whole("1.0.0", object{"etcd_cluster": "127.0.0.1:1", "timeout": 2}), "CNI_CONTAINERID="+containerOf(p))
	if e := c.refusal(out, err); e.Code != types.ErrTryAgainLater {
		t.Errorf("DEL without etcd: %+v", e)
	}
	p.run("del", "pods")
	c.nothingLeft()
}

// logicalPort is the one port of a container in the store.
func logicalPort(c *cniFleet) string {
	for word := range strings.FieldsSeq(c.tpctl("lsp show LS-A")) {
		if word = strings.TrimSuffix(word, ":"); strings.HasPrefix(word, "lsp-eth0-") {
			return word
		}
	}
	c.t.Fatal("there is no port of a container")
	return ""
}

// containerOf is the id that cnitool gives to the pod.
func containerOf(p *pod) string {
	p.c.t.Helper()
	files, err := p.h.Exec(p.c.ctx, "ls", "/var/lib/cni/results")
	p.c.check(err)
	for name := range strings.FieldsSeq(files) {
		text, err := p.h.Exec(p.c.ctx, "cat", "/var/lib/cni/results/"+name)
		p.c.check(err)
		var cached struct{ ContainerID, NetNS string }
		p.c.check(json.Unmarshal([]byte(text), &cached))
		if cached.NetNS == p.path() {
			return cached.ContainerID
		}
	}
	return p.ns
}

func TestT53_CHECKFindsWhatIsNotAsADDMadeIt(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-check"})
	c.start()
	alice := c.Host("alice")
	c.install("pods", "1.1.0", c.conf(object{"subnet6": podSubnet6}))
	p := c.pod(alice)
	p.add("pods")
	p.run("check", "pods")
	in := "ip netns exec " + p.ns + " "
	port := strings.TrimSpace(c.on(alice, "ovs-vsctl --columns=name --bare find Interface external_ids:tuplenet-plugin=cni"))
	for _, d := range []struct{ damage, repair, words string }{
		{in + "ip addr del 10.20.1.2/24 dev eth0", in + "ip addr add 10.20.1.2/24 dev eth0", "does not have the address 10.20.1.2/24"},
		{in + "ip route replace default via 10.20.1.77", in + "ip route replace default via 10.20.1.1", "no default route by way of 10.20.1.1"},
		{in + "ip link set eth0 address 02:00:00:00:00:01", in + "ip link set eth0 address f2:01:0a:14:01:02", "has the MAC 02:00:00:00:00:01"},
		{"ovs-vsctl remove Interface " + port + " external_ids tuplenet-plugin", "ovs-vsctl set Interface " + port + " external_ids:tuplenet-plugin=cni", "is not plugged"},
		{in + "ip link set eth0 down", in + "ip link set eth0 up", "eth0 is down"},
	} {
		c.on(alice, d.damage)
		p.fails("check", "pods", d.words)
		c.on(alice, d.repair)
		if d.words == "no default route by way of 10.20.1.1" || strings.Contains(d.damage, "addr del") {
			_, _ = alice.Exec(c.ctx, strings.Fields(in+"ip route replace default via 10.20.1.1")...) // went with the address
		}
		if !strings.Contains(d.damage, "down") { // takes the IPv6 addresses along
			p.run("check", "pods")
		}
	}
	p.run("del", "pods")
	p.fails("check", "pods") // nothing is cached, and there is nothing
	c.nothingLeft()
}

func TestT53_STATUSTellsWhetherAnADDCanSucceed(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-status"})
	c.start("--interval", "1s")
	alice := c.Host("alice")
	status := func(conf object) (string, error) {
		out, _, err := c.pluginOn(alice, "STATUS", conf)
		return out, err
	}
	if out, err := status(c.whole("1.1.0", nil)); err != nil || out != "" {
		t.Errorf("STATUS of what is well: %v: %s", err, out)
	}
	for _, r := range []struct {
		conf  object
		code  uint
		words string
	}{
		{object{"switchname": "LS-none"}, types.ErrPluginNotAvailable, "LS-none"},
		{object{"etcd_cluster": "127.0.0.1:1", "timeout": 2}, types.ErrPluginNotAvailable, "store unreachable"},
		{object{"ovsdb_socket": "/run/none.sock"}, types.ErrLimitedConnectivity, "is Open vSwitch running?"},
	} {
		out, err := status(c.whole("1.1.0", r.conf))
		if e := c.refusal(out, err); e.Code != r.code || !strings.Contains(e.Msg, r.words) {
			t.Errorf("STATUS with %v: %+v", r.conf, e)
		}
	}
	c.check(alice.StopDaemon(c.ctx))
	c.eventually("STATUS to miss the daemon", func() error { // it counts as alive for some seconds, since it may restart
		out, err := status(c.whole("1.1.0", nil))
		if err == nil {
			return errors.New("it is well")
		}
		if e := c.refusal(out, err); e.Code != types.ErrPluginNotAvailable || !strings.Contains(e.Msg, "is not running") {
			t.Errorf("STATUS without the daemon: %+v", e)
		}
		return nil
	})
	c.daemon(alice, "--interval", "1s")
	c.eventually("STATUS to be well again", func() error { _, err := status(c.whole("1.1.0", nil)); return err })
}

func TestT54_AKilledADDIsUndoneByDEL(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-killed"})
	c.start()
	alice := c.Host("alice")
	for after := range 20 { // in steps over the time that an ADD takes
		p := c.pod(alice)
		input, err := json.Marshal(c.whole("1.0.0", nil))
		c.check(err)
		_ = alice.ExecWith(c.ctx, lab.Streams{In: bytes.NewReader(input)}, "env", "CNI_PATH="+bin, "CNI_COMMAND=ADD", "CNI_CONTAINERID="+p.ns, "CNI_IFNAME=eth0",
			"CNI_NETNS="+p.path(), "timeout", "-s", "KILL", fmt.Sprintf("0.%03d", after*8+1), bin+"/tpcni")
		if out, _, err := p.plugin("DEL", c.whole("1.0.0", nil)); err != nil {
			t.Errorf("DEL after an ADD that was killed after %d ms: %v: %s", after*8, err, out)
		}
		if links := c.on(alice, "ip netns exec "+p.ns+" ip -o link"); strings.Contains(links, "eth0") {
			t.Errorf("left in the container after %d ms: %s", after*8, links)
		}
	}
	c.nothingLeft()
}

func TestT53_AnADDThatIsToldToEndUndoesWhatItDid(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-term"})
	c.start()
	alice := c.Host("alice")
	input, err := json.Marshal(c.whole("1.0.0", nil))
	c.check(err)
	for after := 10; after < 150; after += 10 {
		p := c.pod(alice)
		var out bytes.Buffer
		_ = alice.ExecWith(c.ctx, lab.Streams{In: bytes.NewReader(input), Out: &out}, "env", "CNI_PATH="+bin, "CNI_COMMAND=ADD", "CNI_CONTAINERID="+p.ns, "CNI_IFNAME=eth0",
			"CNI_NETNS="+p.path(), "timeout", "-s", "TERM", fmt.Sprintf("0.%03d", after), bin+"/tpcni")
		if strings.Contains(out.String(), `"ips"`) { // it was done before
			if out, _, err := p.plugin("DEL", c.whole("1.0.0", nil)); err != nil {
				t.Errorf("DEL: %v: %s", err, out)
			}
			continue
		}
		if links := c.on(alice, "ip netns exec "+p.ns+" ip -o link"); strings.Contains(links, "eth0") {
			t.Errorf("left in the container after %d ms: %s", after, links)
		}
	}
	c.nothingLeft()
}

func TestT54_GCRemovesWhatTheRuntimeHasForgottenAndNothingElse(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-gc"})
	c.start()
	alice, bob := c.Host("alice"), c.Host("bob")
	add := func(p *pod, more object) netip.Addr {
		out, _, err := p.plugin("ADD", c.whole("1.1.0", more))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return addresses(c.result(out))[0]
	}
	kept, forgotten, other, far := c.pod(alice), c.pod(alice), c.pod(alice), c.pod(bob)
	ip := add(kept, nil)
	add(forgotten, nil)
	otherIP, farIP := add(other, object{"name": "others"}), add(far, nil)
	gc := func(conf object) {
		t.Helper()
		if out, _, err := c.pluginOn(alice, "GC", conf); err != nil || out != "" {
			t.Fatalf("GC: %v: %s", err, out)
		}
	}
	gc(c.whole("1.1.0", nil)) // says nothing of attachments: all have their interfaces
	known := []object{{"containerID": kept.ns, "ifname": "eth0"}}
	for _, p := range []*pod{kept, forgotten, other, far} {
		c.reach(p.workload(), bobIP)
	}
	// One whose logical port alone is left, as by an ADD that was killed.
	c.tpctl("lsp add LS-A lsp-eth0-mine 10.20.1.200")
	gc(c.whole("1.1.0", object{"cni.dev/valid-attachments": known}))
	listing := c.tpctl("lsp show LS-A")
	for _, p := range []*pod{kept, other, far} {
		c.reach(p.workload(), bobIP)
		if !strings.Contains(listing, "lsp-eth0-"+p.ns) {
			t.Errorf("GC removed the port of %s", p.ns)
		}
	}
	if strings.Contains(listing, "lsp-eth0-"+forgotten.ns) || !strings.Contains(listing, "lsp-eth0-mine") {
		t.Errorf("GC left the port that it should remove, or removed one made by hand:\n%s", listing)
	}
	c.tpctl("lsp del LS-A lsp-eth0-mine")
	c.reach(far.workload(), ip, otherIP)
	c.reach(kept.workload(), farIP)
	// A host that lost its power: the namespaces are gone, nobody says DEL. Without a list, that is what GC removes.
	kept.vanish()
	gc(c.whole("1.1.0", nil))
	gc(c.whole("1.1.0", object{"name": "others", "cni.dev/valid-attachments": []object{}}))
	if out, _, err := c.pluginOn(bob, "GC", c.whole("1.1.0", object{"cni.dev/attachments": []object{}})); err != nil {
		t.Errorf("GC: %v: %s", err, out)
	}
	c.nothingLeft()
}

func TestT53_ThePortOfAContainerThatIsGoneIsRemovedByTheNextADD(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-gone"})
	c.start()
	alice := c.Host("alice")
	c.install("pods", "1.0.0", c.conf(object{"subnet": "10.20.1.1/30"})) // one address
	for range 3 {
		p := c.pod(alice)
		if got := addresses(p.add("pods"))[0]; got != netip.MustParseAddr("10.20.1.2") {
			t.Errorf("address %s", got)
		}
		c.reach(p.workload(), bobIP)
		full := c.pod(alice)
		full.fails("add", "pods", "no free address")
		p.vanish()
	}
	last := c.pod(alice)
	last.add("pods")
	last.run("del", "pods")
	c.nothingLeft()
}

// All have addresses that nobody had before: what a switch has cached for one that was free a moment ago can outlive the flows
// of the new owner for some milliseconds (docs/guide/kubernetes.md).
func TestT53_TheFirstPingOfAHundredContainersIsAnswered(t *testing.T) {
	c := newCNIFleet(t, lab.Config{Name: "cni-first"})
	c.start()
	c.install("pods", "1.0.0", c.conf(nil))
	var pods []*pod
	var took []time.Duration
	for i := range 100 {
		p := c.pod(c.Hosts()[i%2])
		start := time.Now()
		p.add("pods")
		took = append(took, time.Since(start))
		p.firstPing(bobIP)
		pods = append(pods, p)
	}
	for _, p := range pods {
		p.run("del", "pods")
	}
	slices.Sort(took)
	t.Logf("cnitool add: p50 %v, p95 %v", took[len(took)/2], took[len(took)*95/100])
	c.nothingLeft()
}
