//go:build integration

package e2e_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"

	"tuplenet/e2e/lab"
)

func TestT52_X11_X21_EveryVersionOfTheSpecificationSingleAndInALists(t *testing.T) {
	t.Parallel()
	c := newCNIFleet(t, lab.Config{Name: "cni-versions"})
	peer := c.start()
	alice := c.Host("alice")
	out, complaint, err := c.pluginOn(alice, "VERSION", object{"cniVersion": "1.1.0"})
	for _, want := range []string{`"cniVersion":"1.1.0"`, `"supportedVersions":["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]`} {
		if got := strings.Join(strings.Fields(out), ""); err != nil || complaint != "" || !strings.Contains(got, want) {
			t.Errorf("VERSION: %s, want %s: %v %s", got, want, err, complaint)
		}
	}
	for _, v := range []struct {
		version         string
		chained, checks bool // Debian's reference plugins do not speak 1.1.0; CHECK came with 0.4.0
	}{{"0.3.0", true, false}, {"0.3.1", true, false}, {"0.4.0", true, true}, {"1.0.0", true, true}, {"1.1.0", false, true}} {
		single := c.conf(object{"subnet6": podSubnet6, "single": true})
		chain := []object{c.conf(object{"subnet6": podSubnet6})}
		if v.chained {
			chain = append(chain, object{"type": "bandwidth", "capabilities": object{"bandwidth": true}})
		}
		if v.chained && !v.checks { // CHECK of Debian's portmap (1.1.1) looks for its IPv4 rules among those of IPv6
			chain = append(chain, object{"type": "portmap", "capabilities": object{"portMappings": true}})
		}
		c.install("single-"+v.version, v.version, single)
		c.install("list-"+v.version, v.version, chain...)
		for _, network := range []string{"single-" + v.version, "list-" + v.version} {
			t.Run(network, func(t *testing.T) {
				p := c.pod(alice, `CAP_ARGS={"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}],"bandwidth":{"ingressRate":80000000,"ingressBurst":8000000,"egressRate":80000000,"egressBurst":8000000}}`)
				r := p.add(network)
				if r.CNIVersion != "1.1.0" || len(r.Interfaces) < 2 || r.Interfaces[1].Name != "eth0" || r.Interfaces[1].Sandbox != p.path() {
					t.Errorf("interfaces of the result: %+v", r.Interfaces)
				}
				if got, want := textOf(r), "10.20.1.2/24 by 10.20.1.1, 2001:db8:20:1:f001:aff:fe14:102/64 by 2001:db8:20:1::1"; got != want {
					t.Errorf("addresses of the result: %s, want %s", got, want)
				}
				if got := routesOf(p); got != "10.20.1.1 2001:db8:20:1::1" || len(r.Routes) != 2 {
					t.Errorf("default routes in the container by way of %s, in the result %v", got, r.Routes)
				}
				c.reach(p.workload(), bobIP, bobIP6)
				c.transfer(p.workload(), peer, bobIP, 2e6)
				c.transfer(peer, p.workload(), addresses(r)[1], 2e6)
				if v.checks {
					p.run("check", network)
				} else {
					p.fails("check", network, "does not support the CHECK command")
				}
				p.run("status", network)
				p.run("del", network)
				p.run("del", network)
				c.nothingLeft()
				p.add(network)
				p.run("gc", network) // cnitool knows no attachment
				c.nothingLeft()
			})
		}
	}
}

// textOf is what a result says of addresses and gateways; all are of the container's interface.
func textOf(r *current.Result) string {
	var out []string
	for _, ip := range r.IPs {
		if ip.Interface == nil || r.Interfaces[*ip.Interface].Sandbox == "" {
			out = append(out, "not in the container:")
		}
		out = append(out, fmt.Sprintf("%s by %s", ip.Address.String(), ip.Gateway))
	}
	return strings.Join(out, ", ")
}

// routesOf are the gateways of the default routes in a container.
func routesOf(p *pod) string {
	var out []string
	for _, family := range []string{"-4", "-6"} {
		for line := range strings.Lines(p.c.on(p.h, "ip netns exec "+p.ns+" ip "+family+" route show default")) {
			out = append(out, strings.Fields(line)[2])
		}
	}
	return strings.Join(out, " ")
}

func TestT53_FiftyContainersAtOnceOnTwoHosts(t *testing.T) {
	c := newCNIFleet(t, lab.Config{Name: "cni-fifty"})
	peer := c.start()
	c.install("pods", "1.0.0", c.conf(object{"subnet6": podSubnet6}))
	var pods []*pod
	for i := range 50 {
		pods = append(pods, c.pod(c.Hosts()[i%2]))
	}
	ips := make([][]netip.Addr, len(pods))
	everyone(pods, func(i int, p *pod) {
		out, err := p.tool("add", "pods")
		if err != nil {
			t.Errorf("%v\n%s", err, out)
			return
		}
		ips[i] = addresses(c.result(out))
	})
	if t.Failed() {
		t.FailNow()
	}
	seen := map[netip.Addr]int{}
	for _, both := range ips {
		for _, a := range both {
			seen[a]++
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d different addresses of both families, want 100", len(seen))
	}
	lowest := netip.MustParseAddr("10.20.1.2")
	for seen[lowest] > 0 {
		lowest = lowest.Next()
	}
	one := c.pod(c.Hosts()[0])
	if got := addresses(one.add("pods"))[0]; got != lowest {
		t.Errorf("one more container has the address %s, the lowest free one is %s", got, lowest)
	}
	one.run("del", "pods")
	for _, both := range ips {
		c.reach(peer, both...)
	}
	for i, p := range pods { // in a ring, from host to host
		p.firstPing(ips[(i+1)%len(ips)]...)
	}
	c.transfer(pods[0].workload(), pods[1].workload(), ips[1][0], 5e6)
	everyone(pods, func(_ int, p *pod) {
		if out, err := p.tool("del", "pods"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	c.nothingLeft()
}
