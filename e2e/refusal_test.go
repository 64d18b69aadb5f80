//go:build integration

package e2e_test

import (
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

func TestADaemonThatCannotWorkSaysWhyAndEnds(t *testing.T) {
	f := newBareFleet(t, lab.Config{Name: "refuse"})
	alice, bob := f.Hosts()[0], f.Hosts()[1]
	f.daemon(alice)
	for _, c := range []struct {
		name, before, after string
		args                []string
		want                []string
	}{
		{name: "T04 no system-id", before: "ovs-vsctl remove open_vswitch . external-ids system-id", after: "ovs-vsctl set open_vswitch . external-ids:system-id=bob",
			want: []string{"system-id"}},
		{name: "T04 the name of another host", before: "ovs-vsctl set open_vswitch . external-ids:system-id=alice", after: "ovs-vsctl set open_vswitch . external-ids:system-id=bob",
			want: []string{"alice"}},
		{name: "T18 an interface that is not there", args: []string{"--interface", "eth9"}, want: []string{"eth9"}},
		{name: "T18 an interface without address", args: []string{"--interface", "wire0"}, want: []string{"wire0"}},
		{name: "X18 a link-local tunnel address", args: []string{"--ip", "fe80::1"}, want: []string{"fe80::1", "link-local"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != "" {
				f.on(bob, c.before)
				defer f.on(bob, c.after)
			}
			args := append([]string{"--host", strings.Join(f.Endpoints(), ",")}, c.args...)
			if len(c.args) == 0 {
				args = append(args, "--interface", bob.Bridge())
			}
			err := bob.StartDaemonExactly(f.ctx, args...)
			if err == nil {
				t.Fatal("it started")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the reason does not name %q: %v", w, err)
				}
			}
		})
	}
	f.daemon(bob)
	f.eventuallyShows("ch show", "bob:")
}

func TestT58_ADeletedChassisStaysAwayAndALivingOneComesBack(t *testing.T) {
	t.Parallel()
	f := newFleet(t, lab.Config{Name: "chassis"})
	a, _ := f.routed()
	f.check(f.Hosts()[1].Kill(f.ctx))
	f.tpctl("ch del " + ip(f.Host("bob")))
	if out := f.tpctl("ch show"); strings.Contains(out, "bob:") || !strings.Contains(out, "alice:") {
		t.Errorf("after `ch del`:\n%s", out)
	}
	f.tpctl("ch del alice")
	f.eventuallyShows("ch show", "alice:")
	f.reach(a, a.Gateways()[0])
}
