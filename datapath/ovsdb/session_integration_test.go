//go:build integration

package ovsdb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func geneve() Port {
	return Port{Name: "tn-geneve", Type: "geneve", Owner: "tunnel/geneve", Options: map[string]string{"remote_ip": "flow", "key": "flow"}}
}

func desired(ports ...Port) Desired {
	return Desired{Bridge: "br-int", DatapathType: "netdev", Ports: ports}
}

func TestT19_TheBridgeAndItsTunnelPortAreCreated(t *testing.T) {
	s := newServer(t)
	f := s.follow()
	if got := s.vsctl("list-br"); got != "" {
		t.Fatalf("before Set, the database has been written: %q", got)
	}
	f.Set(desired(geneve()))
	facts := f.until("the tunnel port", hasInterface("tn-geneve", func(i *Interface) bool { return i.Bridge == "br-int" }))
	b := facts.Bridges["br-int"]
	if b.DatapathType != "netdev" || b.FailMode != "secure" || !slices.Equal(b.Protocols, []string{"OpenFlow13", "OpenFlow15"}) {
		t.Errorf("bridge = %+v", b)
	}
	if got := s.vsctl("get", "bridge", "br-int", "other_config:disable-in-band"); got != `"true"` {
		t.Errorf("disable-in-band = %s", got)
	}
	if got := s.vsctl("get", "port", "tn-geneve", "external_ids:"+OwnerKey); got != `"tunnel/geneve"` {
		t.Errorf("owner = %s", got)
	}
	if i := facts.Interfaces["br-int"]; i == nil || i.Type != "internal" {
		t.Errorf("local port = %+v", i)
	}
	if len(facts.Failures) != 0 {
		t.Errorf("failures = %v", facts.Failures)
	}
}

func TestAnExistingBridgeKeepsItsDatapathTypeAndForeignSettings(t *testing.T) {
	s := newServer(t)
	s.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=dummy", "protocols=OpenFlow10,OpenFlow13", "fail_mode=standalone",
		"other_config:hwaddr=02:00:00:00:00:01")
	f := s.follow()
	f.Set(desired())
	facts := f.until("the corrected bridge", func(f Facts) string {
		if f.Bridges["br-int"].FailMode != "secure" {
			return "fail mode is " + f.Bridges["br-int"].FailMode
		}
		return ""
	})
	b := facts.Bridges["br-int"]
	if b.DatapathType != "dummy" || strings.Join(b.Protocols, ",") != "OpenFlow10,OpenFlow13,OpenFlow15" {
		t.Errorf("bridge = %+v", b)
	}
	if got := s.vsctl("get", "bridge", "br-int", "other_config"); got != `{disable-in-band="true", hwaddr="02:00:00:00:00:01"}` {
		t.Errorf("other_config = %s", got)
	}
}

func TestAPortDeletedOrEditedByHandIsMadeAgain(t *testing.T) {
	s := newServer(t)
	f := s.follow()
	f.Set(desired(geneve()))
	before := f.until("the port", hasInterface("tn-geneve", nil)).Interfaces["tn-geneve"]

	s.vsctl("del-port", "tn-geneve")
	f.until("the port again", hasInterface("tn-geneve", func(i *Interface) bool { return i != before }))
	s.eventually("the port in the database", func() error {
		if !strings.Contains(s.vsctl("list-ports", "br-int"), "tn-geneve") {
			return fmt.Errorf("not there")
		}
		return nil
	})
	f.drifted("missing port tn-geneve healed=true tunnel/geneve")

	s.vsctl("set", "interface", "tn-geneve", "options:remote_ip=192.0.2.1", "options:csum=false", "type=vxlan", "ofport_request=7")
	f.drifted("altered port tn-geneve healed=true tunnel/geneve")
	s.vsctl("set", "port", "tn-geneve", "external_ids:"+OwnerKey+"=mine")
	f.drifted("altered port tn-geneve healed=true tunnel/geneve")
	s.eventually("the wanted settings", func() error {
		got := s.vsctl("get", "interface", "tn-geneve", "type", "options", "ofport_request") + s.vsctl("get", "port", "tn-geneve", "external_ids")
		if got != "geneve\n{key=flow, remote_ip=flow}\n[]"+`{tuplenet-owner="tunnel/geneve"}` {
			return fmt.Errorf("found %s", got)
		}
		return nil
	})

	s.vsctl("del-br", "br-int")
	f.until("bridge and port again", func(f Facts) string {
		if f.Bridges["br-int"] == nil || f.Interfaces["tn-geneve"] == nil || f.Interfaces["tn-geneve"].Bridge != "br-int" {
			return fmt.Sprintf("bridges %v", slices.Collect(maps.Keys(f.Bridges)))
		}
		return ""
	})
	f.drifted("missing bridge br-int healed=true", "missing port tn-geneve healed=true tunnel/geneve")
	s.vsctl("add-port", "br-int", "stray", "--", "set", "port", "stray", "external_ids:"+OwnerKey+"=old")
	f.until("no stray port", lacksInterface("stray"))
	f.drifted("foreign port stray healed=true")
	f.Set(desired()) // what we do ourselves is no drift
	f.until("no port of ours", lacksInterface("tn-geneve"))
	f.Set(desired(geneve()))
	f.until("the port", hasInterface("tn-geneve", nil))
	f.drifted()
}

func TestWhatOthersDidToPortsMayBeReportedOnly(t *testing.T) {
	s := newServer(t)
	f := s.followWith(Config{ReportOnly: true})
	f.Set(desired(geneve()))
	f.until("the port", hasInterface("tn-geneve", nil))
	s.vsctl("del-port", "tn-geneve")
	f.drifted("missing port tn-geneve healed=false tunnel/geneve")
	other := Port{Name: "tn-bfd1", Type: "geneve", Options: map[string]string{"remote_ip": "192.0.2.2"}}
	f.Set(desired(geneve(), other)) // the rest goes on
	f.until("the other port", hasInterface("tn-bfd1", nil))
	f.until("nothing repaired", lacksInterface("tn-geneve"))
	f.drifted()
}

func TestOnlyPortsWithOurOwnerKeyAreDeleted(t *testing.T) {
	s := newServer(t)
	f := s.follow()
	bfd := Port{Name: "tn-bfd1", Type: "geneve", Options: map[string]string{"remote_ip": "192.0.2.2"}, BFD: map[string]string{"enable": "true"}}
	f.Set(desired(geneve(), bfd))
	f.until("two ports", hasInterface("tn-bfd1", nil))
	s.vsctl("add-port", "br-int", "vm1", "--", "set", "interface", "vm1", "external_ids:iface-id=lsp-1")
	s.vsctl("add-br", "br-other", "--", "add-port", "br-other", "stray", "--", "set", "port", "stray", "external_ids:"+OwnerKey+"=old")
	f.until("the foreign port", hasInterface("vm1", func(i *Interface) bool { return i.IfaceID == "lsp-1" && i.Owner == "" }))
	f.until("no stray port", lacksInterface("stray"))

	f.Set(desired(geneve()))
	f.until("one port less", lacksInterface("tn-bfd1"))
	f.Set(desired())
	f.until("no port of ours", lacksInterface("tn-geneve"))
	if got := strings.Fields(s.vsctl("list-ports", "br-int")); !slices.Equal(got, []string{"vm1"}) {
		t.Errorf("ports left: %v", got)
	}
}

// pair is a patch pair between the integration bridge and one of the operator.
func pair(bridge string) []Port {
	end := func(name, peer, bridge string) Port {
		return Port{Name: name, Bridge: bridge, Type: "patch", Owner: "patch/outside1", Options: map[string]string{"peer": peer}}
	}
	inside := end("tn-outside1", "tn-outside1-p", "")
	inside.ExternalIDs = map[string]string{"iface-id": "patchport-outside1"}
	return []Port{inside, end("tn-outside1-p", "tn-outside1", bridge)}
}

func TestT33_APatchPairToABridgeOfTheOperatorIsMadeKeptAndRemoved(t *testing.T) {
	s := newServer(t)
	s.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=standalone", "--", "add-port", "br0", "eth1")
	const settings = "datapath_type,fail_mode,protocols,other_config,external_ids,controller"
	before := s.vsctl("--columns="+settings, "list", "bridge", "br0")
	f := s.follow()
	f.Set(desired(pair("br0")...))
	f.until("the far end", hasInterface("tn-outside1-p", func(i *Interface) bool { return i.Bridge == "br0" && i.Owner == "patch/outside1" }))
	made := f.until("the near end", hasInterface("tn-outside1", nil)) // its bridge had to be made first
	if i := made.Interfaces["tn-outside1"]; i == nil || i.Bridge != "br-int" || i.IfaceID != "patchport-outside1" || i.Options["peer"] != "tn-outside1-p" {
		t.Errorf("the near end is %+v", i)
	}

	s.vsctl("del-port", "br0", "tn-outside1-p")
	f.until("the far end made again", hasInterface("tn-outside1-p", func(i *Interface) bool { return i != made.Interfaces["tn-outside1-p"] }))
	s.vsctl("set", "interface", "tn-outside1-p", "options:peer=elsewhere")
	s.eventually("the far end corrected", func() error {
		if got := s.vsctl("get", "interface", "tn-outside1-p", "options:peer"); got != "tn-outside1" {
			return fmt.Errorf("peer is %s", got)
		}
		return nil
	})

	f.Set(desired())
	f.until("no near end", lacksInterface("tn-outside1"))
	f.until("no far end", lacksInterface("tn-outside1-p"))
	if got := s.vsctl("list-ports", "br0"); got != "eth1" {
		t.Errorf("ports of the operator's bridge: %q", got)
	}
	if after := s.vsctl("--columns="+settings, "list", "bridge", "br0"); after != before {
		t.Errorf("the operator's bridge was\n%s\nand is\n%s", before, after)
	}
}

func TestT33_APatchPairWaitsForTheOperatorsBridge(t *testing.T) {
	s := newServer(t)
	f := s.follow()
	f.Set(desired(append(pair("br0"), geneve())...))
	missing := func(f Facts) string {
		if reason := f.Failures["tn-outside1-p"]; !strings.Contains(reason, `bridge "br0" does not exist`) || len(f.Failures) != 1 {
			return fmt.Sprintf("failures %v", f.Failures)
		}
		return ""
	}
	f.until("the reason", missing)
	f.until("the other port, all the same", hasInterface("tn-geneve", nil))
	if got := s.vsctl("list-br"); got != "br-int" {
		t.Errorf("bridges: %q", got)
	}
	for range 2 { // the operator makes the bridge, takes it away, and makes it again
		s.vsctl("add-br", "br0")
		f.until("the far end", hasInterface("tn-outside1-p", func(i *Interface) bool { return i.Bridge == "br0" }))
		f.until("no failures", func(f Facts) string {
			if len(f.Failures) != 0 {
				return fmt.Sprint(f.Failures)
			}
			return ""
		})
		s.vsctl("del-br", "br0")
		f.until("the reason again", missing)
	}
	if got := s.vsctl("list-br"); got != "br-int" {
		t.Errorf("bridges: %q", got)
	}
}

func TestAForeignPortOfAWantedNameIsLeftAloneAndReported(t *testing.T) {
	s := newServer(t)
	s.vsctl("add-br", "br-int", "--", "add-port", "br-int", "tn-geneve", "--", "set", "interface", "tn-geneve", "type=internal")
	f := s.follow()
	bad := Port{Name: "tn-bad", Type: "geneve", OFPortRequest: 70000}
	good := Port{Name: "tn-good", Type: "geneve", Options: map[string]string{"remote_ip": "192.0.2.3"}}
	f.Set(desired(geneve(), bad, good))
	f.until("two failures", func(f Facts) string {
		if f.Failures["tn-geneve"] == "" || f.Failures["tn-bad"] == "" {
			return fmt.Sprint(f.Failures)
		}
		return ""
	})
	f.until("the good port, all the same", hasInterface("tn-good", nil))
	if got := s.vsctl("get", "interface", "tn-geneve", "type"); got != "internal" {
		t.Errorf("the foreign port was changed to %s", got)
	}
	s.vsctl("del-port", "tn-geneve")
	f.until("our port once the name is free", hasInterface("tn-geneve", func(i *Interface) bool { return i.Owner != "" }))
	f.Set(desired(geneve(), good))
	f.until("no failures", func(f Facts) string {
		if len(f.Failures) != 0 {
			return fmt.Sprint(f.Failures)
		}
		return ""
	})
}

func TestAfterARestartOfTheServerWhatChangedMeanwhileIsSeen(t *testing.T) {
	s := newServer(t)
	f := s.followWith(Config{Echo: time.Second})
	f.Set(desired(geneve()))
	f.until("the port", hasInterface("tn-geneve", nil))
	for _, name := range []string{"vm1", "vm2"} {
		s.vsctl("add-port", "br-int", name)
	}
	before := f.until("two workloads", hasInterface("vm2", nil))

	s.stop("ovsdb-server", syscall.SIGKILL)
	aside := s.path("aside")
	s.start(aside)
	s.run("ovs-vsctl", "--no-wait", "--db=unix:"+aside, "del-port", "vm1", "--", "del-port", "tn-geneve", "--", "add-port", "br-int", "vm3")
	s.stop("ovsdb-server", syscall.SIGTERM)
	s.start(s.sock())

	f.until("the new workload", hasInterface("vm3", nil))
	after := f.until("the lost workload gone", lacksInterface("vm1"))
	if after.Interfaces["vm2"] != before.Interfaces["vm2"] {
		t.Error("an unchanged interface is another pointer after the restart")
	}
	f.until("our port again", hasInterface("tn-geneve", nil))

	// A hung server is noticed, and the session renewed when it is back.
	_ = s.cmds["ovsdb-server"].Process.Signal(syscall.SIGSTOP)
	s.eventually("the end of the session", func() error {
		if f.Connected() {
			return fmt.Errorf("still up")
		}
		return nil
	})
	_ = s.cmds["ovsdb-server"].Process.Signal(syscall.SIGCONT)
	s.vsctl("add-port", "br-int", "vm4")
	f.until("news after the hang", hasInterface("vm4", nil))
}

func TestTheSwitchsAnswersArriveInFacts(t *testing.T) {
	s := newServer(t)
	s.vsctl("set", "open", ".", "external_ids:system-id=chassis-1", "ovs_version=3.1.0")
	s.spawn("ovs-vswitchd", "unix:"+s.sock(), "--enable-dummy=system", "--disable-system", "--disable-system-route", "--no-chdir", "-vconsole:off",
		"--unixctl="+s.path("vswitchd.ctl"))
	f := s.follow()
	p := geneve()
	p.OFPortRequest = 40
	wrong := Port{Name: "tn-wrong", Type: "geneve"} // no remote_ip
	f.Set(Desired{Bridge: "br-int", DatapathType: "dummy", Ports: []Port{p, wrong}})
	f.until("the port number", hasInterface("tn-geneve", func(i *Interface) bool { return i.OFPort == 40 && i.HasOFPort() }))
	f.until("the failed port", hasInterface("tn-wrong", func(i *Interface) bool { return i.OFPort == OFPortFailed && i.Error != "" && !i.HasOFPort() }))
	facts := f.until("version and name", func(f Facts) string {
		if f.OVSVersion == "" || f.SystemID != "chassis-1" {
			return fmt.Sprintf("version %q, system-id %q", f.OVSVersion, f.SystemID)
		}
		return ""
	})
	if err := CheckVersion(facts.OVSVersion); err != nil {
		t.Error(err)
	}
	f.until("the local port's address", hasInterface("br-int", func(i *Interface) bool { return len(i.MAC) == 17 && i.MTU > 0 }))
}

func TestAThousandInterfacesCostLittle(t *testing.T) {
	s := newServer(t)
	s.vsctl("add-br", "br-int")
	args := []string{}
	for i := range 1000 {
		name := fmt.Sprintf("vm%d", i)
		args = append(args, "--", "add-port", "br-int", name, "--", "set", "interface", name, "external_ids:iface-id=lsp-"+name)
	}
	s.vsctl(args[1:]...)
	f := s.follow()
	before := f.until("all interfaces", hasInterface("vm999", nil))
	if len(before.Interfaces) != 1001 {
		t.Fatalf("%d interfaces in the first facts", len(before.Interfaces))
	}
	s.vsctl("set", "interface", "vm500", "external_ids:iface-id=other")
	after := f.until("the change", hasInterface("vm500", func(i *Interface) bool { return i.IfaceID == "other" }))
	differ := 0
	for name, i := range after.Interfaces {
		if before.Interfaces[name] != i {
			differ++
		}
	}
	if differ != 1 || before.Interfaces["vm500"].IfaceID != "lsp-vm500" {
		t.Errorf("%d interfaces differ after a change of one", differ)
	}
}

func TestASessionThatStartsBeforeTheServerWaitsForIt(t *testing.T) {
	s := newServer(t)
	s.stop("ovsdb-server", syscall.SIGTERM)
	f := &follower{s: s}
	seen := make(chan Facts, 1)
	f.Session = New(Config{Socket: s.sock(), OnFacts: func(facts Facts) {
		select {
		case seen <- facts:
		default:
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	f.Set(desired(geneve()))
	if f.Connected() {
		t.Error("connected to nothing")
	}
	s.start(s.sock())
	if facts := <-seen; facts.Interfaces == nil || facts.Bridges == nil {
		t.Errorf("first facts %+v", facts)
	}
	s.eventually("the port", func() error {
		if got := s.vsctl("--columns=name", "list", "port"); !strings.Contains(got, "tn-geneve") {
			return fmt.Errorf("ports: %s", got)
		}
		return nil
	})
	cancel()
	<-done
}

func TestRunEndsWhereverItsContextDoes(t *testing.T) {
	s := newServer(t)
	s.vsctl("add-br", "br-int")
	for i := range 200 { // in steps over the time that a connection and its first snapshot take
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
		done := make(chan struct{})
		go func() {
			_ = New(Config{Socket: s.sock()}).Run(ctx)
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("Run has not ended, though its context has, %v after the start", time.Duration(i)*50*time.Microsecond)
		}
		cancel()
	}
}
