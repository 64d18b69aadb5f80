//go:build integration && soak

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	roamers      = 2
	soakSwitches = 4
	soakPorts    = 12 // on a switch, that come and go
	soakRules    = 6  // routes, and as many NAT rules
)

// soakWorld is the part of the network that comes and goes.
type soakWorld struct {
	switches [soakSwitches]bool
	ports    map[string]bool // "switch name"
	routes   map[int]bool
	nat      map[int]bool
	damaged  bool
}

func newSoakWorld() soakWorld {
	return soakWorld{ports: map[string]bool{}, routes: map[int]bool{}, nat: map[int]bool{}}
}

// step does something at random. What it draws from the seed depends on the steps before, not on time.
func (s *soak) step() {
	s.t.Helper()
	kinds := []struct {
		weight int
		do     func()
	}{
		{6, s.stepPort}, {3, s.stepSwitch}, {4, s.stepRoute}, {4, s.stepNAT}, {6, s.stepRoam}, {5, s.stepDaemon}, {1, s.stepEtcd},
		{3, s.stepCompact}, {2, s.stepDamage}, {3, s.stepBurst},
	}
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	n := s.rnd.IntN(sum)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			k.do()
			return
		}
	}
}

// run carries out a command line, sometimes waiting for it. With a daemon away the wait tells so at once.
func (s *soak) run(line string) {
	s.t.Helper()
	if s.rnd.IntN(3) == 0 {
		line += " --wait=60s"
	}
	s.log("tpctl %s", line)
	_, err := s.Tpctl(s.ctx, strings.Fields(line)...)
	if exitCode(err) == 5 && len(s.down) > 0 {
		return
	}
	s.check(err)
}

// anySwitch is the name of a switch that exists and the second byte that its addresses have in common with no other one.
func (s *soak) anySwitch() (name string, third int) {
	names := []string{"LS-A", "LS-B"}
	for i, there := range s.world.switches {
		if there {
			names = append(names, soakSwitch(i))
		}
	}
	name = names[s.rnd.IntN(len(names))]
	switch name {
	case "LS-A":
		return name, 1
	case "LS-B":
		return name, 2
	}
	return name, 30 + int(name[len(name)-1]-'0')
}

func soakSwitch(i int) string { return fmt.Sprintf("soak%d", i) }

func (s *soak) stepPort() {
	s.t.Helper()
	ls, third := s.anySwitch()
	n := s.rnd.IntN(soakPorts)
	key := fmt.Sprintf("%s p-%s-%d", ls, ls, n)
	if s.world.ports[key] {
		s.run("lsp del " + key)
		delete(s.world.ports, key)
		return
	}
	s.run(fmt.Sprintf("lsp add %s 10.20.%d.%d,2001:db8:20:%d::%d", key, third, 100+n, third, 100+n))
	s.world.ports[key] = true
}

func (s *soak) stepSwitch() {
	s.t.Helper()
	i := s.rnd.IntN(soakSwitches)
	name := soakSwitch(i)
	if s.world.switches[i] {
		s.run("ls del " + name + " -r --yes")
		s.world.switches[i] = false
		for key := range s.world.ports {
			if strings.HasPrefix(key, name+" ") {
				delete(s.world.ports, key)
			}
		}
		return
	}
	s.run("ls add " + name)
	s.run(fmt.Sprintf("lr link LR-central %s 10.20.%d.1/24,2001:db8:20:%d::1/64", name, 30+i, 30+i))
	s.world.switches[i] = true
}

func (s *soak) stepRoute() {
	s.t.Helper()
	n := s.rnd.IntN(soakRules)
	if s.world.routes[n] {
		s.run(fmt.Sprintf("lsr del LR-central r%d", n))
		delete(s.world.routes, n)
		return
	}
	// Two of a prefix share it.
	s.run(fmt.Sprintf("lsr add LR-central r%d 10.77.%d.0/24 10.20.2.%d LR-central_to_LS-B", n, n/2, 11+39*(n%2)))
	s.world.routes[n] = true
}

func (s *soak) stepNAT() {
	s.t.Helper()
	n := s.rnd.IntN(soakRules)
	if s.world.nat[n] {
		s.run(fmt.Sprintf("lnat del LR-edge n%d", n))
		delete(s.world.nat, n)
		return
	}
	if n%2 == 0 {
		s.run(fmt.Sprintf("lnat add LR-edge n%d 10.66.%d.0/24 snat 192.0.2.%d", n, n, 100+n))
	} else {
		s.run(fmt.Sprintf("lnat add LR-edge n%d 10.20.1.%d/32 dnat_and_snat 192.0.2.%d", n, 150+n, 100+n))
	}
	s.world.nat[n] = true
}

// stepRoam takes a port from where it is to another host, or off.
func (s *soak) stepRoam() {
	s.t.Helper()
	i, to := s.rnd.IntN(roamers), s.rnd.IntN(len(s.Hosts())+1)
	if w := s.roam[i]; w != nil {
		s.log("%s leaves %s", roamer(i), w.Host.Name())
		s.check(w.Remove(s.ctx))
		s.roam[i] = nil
	}
	if to == len(s.Hosts()) {
		return
	}
	s.log("%s comes to %s", roamer(i), s.host(to).Name())
	s.roam[i] = s.workload(s.host(to), roamer(i), roamer(i), roamerMAC(i), "10.20.2.1", "", roamerIP(i).String()+"/24")
}

// stepDaemon kills the daemon of a host but the first, or starts it again.
func (s *soak) stepDaemon() {
	s.t.Helper()
	i := 1 + s.rnd.IntN(len(s.Hosts())-1)
	if s.down[i] {
		s.log("start the daemon of host %d", i)
		s.start(i)
		return
	}
	s.log("kill -9 the daemon of host %d", i)
	s.check(s.host(i).KillDaemon(s.ctx))
	s.down[i] = true
}

func (s *soak) stepEtcd() {
	s.t.Helper()
	sig := []unix.Signal{unix.SIGKILL, unix.SIGTERM}[s.rnd.IntN(2)]
	s.log("etcd ends by %s and starts again", unix.SignalName(sig))
	s.check(s.StopEtcd(s.ctx, sig))
	s.check(s.StartEtcd(s.ctx))
}

// stepCompact makes etcd forget all but the present.
func (s *soak) stepCompact() {
	s.t.Helper()
	s.log("etcd forgets its history")
	var state struct {
		Header struct{ Revision int64 }
	}
	s.check(json.Unmarshal([]byte(s.on(s.host(0), "etcdctl get none -w json")), &state))
	if _, err := s.host(0).Exec(s.ctx, "etcdctl", "compact", fmt.Sprint(state.Header.Revision)); err != nil && !strings.Contains(err.Error(), "compacted") {
		s.t.Fatal(err)
	}
}

// stepDamage writes something into the store that is no port, or takes it out.
func (s *soak) stepDamage() {
	s.t.Helper()
	key := s.Config().Prefix + "/v1/spec/switchport/LS-A/damaged"
	if s.world.damaged {
		s.log("the damaged object goes")
		s.on(s.host(0), "etcdctl del "+key)
	} else {
		s.log("an object is damaged")
		s.on(s.host(0), "etcdctl put "+key+" {half")
	}
	s.world.damaged = !s.world.damaged
}

// stepBurst adds many ports and takes them away, in one process.
func (s *soak) stepBurst() {
	s.t.Helper()
	ls, _ := s.anySwitch()
	s.log("40 ports come to and go from %s", ls)
	var add, del strings.Builder
	for n := range 40 {
		fmt.Fprintf(&add, "lsp add %s burst%d\n", ls, n)
		fmt.Fprintf(&del, "lsp del %s burst%d\n", ls, n)
	}
	for _, text := range []string{add.String(), del.String()} {
		file := filepath.Join(s.t.TempDir(), "burst")
		s.check(os.WriteFile(file, []byte(text), 0o600))
		s.tpctl("batch -f " + file)
	}
}

// tidy takes everything away that came by steps.
func (s *soak) tidy() {
	s.t.Helper()
	s.log("everything that came goes")
	for i, w := range s.roam {
		if w != nil {
			s.check(w.Remove(s.ctx))
			s.roam[i] = nil
		}
	}
	var lines []string
	for key := range s.world.ports {
		lines = append(lines, "lsp del "+key)
	}
	for n := range s.world.routes {
		lines = append(lines, fmt.Sprintf("lsr del LR-central r%d", n))
	}
	for n := range s.world.nat {
		lines = append(lines, fmt.Sprintf("lnat del LR-edge n%d", n))
	}
	slices.Sort(lines)
	for i, there := range s.world.switches {
		if there {
			lines = append(lines, "ls del "+soakSwitch(i)+" -r --yes")
		}
	}
	for _, line := range lines {
		s.tpctl(line)
	}
	if s.world.damaged {
		s.stepDamage()
	}
	s.world = newSoakWorld()
	s.tpctl("lsp add LS-A mark --wait=60s")
	s.tpctl("lsp del LS-A mark --wait=60s")
}
