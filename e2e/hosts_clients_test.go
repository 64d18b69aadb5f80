//go:build integration

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tuplenet/e2e/lab"
)

// clientScript is what DHCP clients run when something happens: it sets the interface up, and leaves what it was told in a file
// for each event. The scripts of the distribution write to the machine's /etc.
const clientScript = `#!/bin/sh
event=${reason:-$1}
[ -z "$ip" ] || { new_ip_address=$ip; new_subnet_mask=$subnet; new_routers=$router; new_interface_mtu=$mtu; }
case $event in
BOUND | RENEW | REBIND | REBOOT | bound | renew)
	ip -4 addr replace $new_ip_address/$new_subnet_mask dev $interface
	[ -z "$new_interface_mtu" ] || ip link set $interface mtu $new_interface_mtu
	[ -z "$new_routers" ] || ip -4 route replace default via ${new_routers%% *} dev $interface ;;
BOUND6 | RENEW6 | REBIND6) [ -z "$new_ip6_address" ] || ip -6 addr replace $new_ip6_address/128 dev $interface ;;
esac
env > "$TOLD/.$event" && mv "$TOLD/.$event" "$TOLD/$event"
`

const dhclientConf = `option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, domain-search, host-name, interface-mtu,
	rfc3442-classless-static-routes, ntp-servers, dhcp6.name-servers, dhcp6.domain-search, dhcp6.sntp-servers;
timeout 15;
retry 1;
backoff-cutoff 2;
initial-interval 1;
`

// client is a workload that asks for its configuration.
type client struct {
	*lab.Workload
	f   *fleet
	dir string
}

// asks makes a workload without addresses that can ask for them.
func (f *fleet) asks(h *lab.Host, name, port, mac string) *client {
	f.t.Helper()
	w, err := h.AddWorkload(f.ctx, lab.WorkloadConfig{Name: name, Port: port, MAC: mac, MTU: 1500})
	f.check(err)
	c := &client{w, f, filepath.Join(h.Dir(), "ask-"+name)}
	f.check(os.MkdirAll(c.dir, 0o755))
	f.check(os.WriteFile(filepath.Join(c.dir, "script"), []byte(clientScript), 0o755))
	f.check(os.WriteFile(filepath.Join(c.dir, "conf"), []byte(dhclientConf), 0o644))
	return c
}

// run runs a client program, which calls the script. One that stays in the background is ended with the lab.
func (c *client) run(limit time.Duration, command ...string) error {
	ctx, cancel := context.WithTimeout(c.f.ctx, limit)
	defer cancel()
	out, err := c.Exec(ctx, append([]string{"env", "TOLD=" + c.dir}, command...)...)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// dhclient asks once and returns what the event of that name told, in the variables of dhclient-script(8). Processes of earlier
// calls are stopped without giving anything back.
func (c *client) dhclient(event string, options ...string) map[string]string {
	c.f.t.Helper()
	c.stop()
	_ = os.Remove(filepath.Join(c.dir, event))
	args := append([]string{"dhclient", "-1", "-e", "TOLD=" + c.dir, "-cf", filepath.Join(c.dir, "conf"), "-sf", filepath.Join(c.dir, "script"),
		"-lf", filepath.Join(c.dir, "leases"+strings.Join(options, "")), "-pf", filepath.Join(c.dir, "pid")}, options...)
	c.f.check(c.run(30*time.Second, append(args, "eth0")...))
	return c.told(event)
}

// stop ends the dhclient that runs in the background, and leaves what it set up. Until it has really gone it holds its port, and another
// one would give up.
func (c *client) stop() {
	c.f.t.Helper()
	if pid, err := os.ReadFile(filepath.Join(c.dir, "pid")); err == nil {
		number := strings.TrimSpace(string(pid))
		c.f.eventually("the end of dhclient in "+c.Name, func() error {
			if _, err := c.Exec(c.f.ctx, "kill", "-9", number); err == nil {
				return fmt.Errorf("process %s was there still", number)
			}
			return nil // it has gone, or ended by itself before
		})
		c.f.check(os.Remove(filepath.Join(c.dir, "pid")))
	}
}

// told reads what the script was told at an event.
func (c *client) told(event string) map[string]string {
	c.f.t.Helper()
	told := map[string]string{}
	c.f.eventually(event+" of "+c.Name, func() error {
		text, err := os.ReadFile(filepath.Join(c.dir, event))
		if err != nil {
			events, _ := filepath.Glob(filepath.Join(c.dir, "*"))
			return fmt.Errorf("%w: there are %v", err, events)
		}
		for line := range strings.Lines(string(text)) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				told[k] = v
			}
		}
		return nil
	})
	return told
}

// udhcpc asks once with the client of busybox; an error says that there was no lease.
func (c *client) udhcpc(tries int) error {
	return c.run(30*time.Second, "busybox", "udhcpc", "-f", "-q", "-n", "-i", "eth0", "-t", fmt.Sprint(tries), "-T", "1", "-A", "1", "-O", "mtu", "-s", filepath.Join(c.dir, "script"))
}

// expect compares some of what was told.
func (c *client) expect(told, want map[string]string) {
	c.f.t.Helper()
	for k, v := range want {
		if told[k] != v {
			c.f.t.Errorf("%s was told %s=%q, want %q", c.Name, k, told[k], v)
		}
	}
}

// rdisc6 is what rdisc6(8) prints of the advertisements that a solicitation brings, blanks squeezed.
func (c *client) rdisc6() string {
	c.f.t.Helper()
	var out string
	c.f.eventually("a router advertisement for "+c.Name, func() (err error) {
		out, err = c.Exec(c.f.ctx, "rdisc6", "-r", "2", "-w", "2000", "eth0")
		return err
	})
	return strings.Join(strings.Fields(out), " ")
}

// contains says what is missing in a text.
func (c *client) contains(text string, words ...string) {
	c.f.t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			c.f.t.Errorf("%s: %q is not in\n%s", c.Name, w, text)
		}
	}
}
