//go:build integration && soak

package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tuplenet/e2e/lab"
	"tuplenet/model"
)

// contents are the flows and groups of a host's br-int, without what is counted.
func (s *soak) contents(h *lab.Host) []string {
	s.t.Helper()
	lines := slices.Collect(maps.Keys(s.ages(h)))
	groups, err := h.Ofctl(s.ctx, "-O", "OpenFlow15", "dump-groups", "br-int")
	s.check(err)
	for line := range strings.Lines(groups) {
		if strings.Contains(line, "group_id=") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

func (s *soak) switches() map[string][]string {
	s.t.Helper()
	all := map[string][]string{}
	for _, h := range s.Hosts() {
		all[h.Name()] = s.contents(h)
	}
	return all
}

// watched waits until BFD decides about every tunnel of the host that has the edge's router: before a session was up for the first time, its
// chassis has no detours.
func (s *soak) watched() {
	s.t.Helper()
	for _, h := range s.Hosts()[:1] {
		s.eventually(h.Name()+" to watch its tunnels", func() error {
			groups, err := h.Ofctl(s.ctx, "-O", "OpenFlow15", "dump-groups", "br-int")
			s.check(err)
			seen := 0
			for _, p := range ask[[]model.NodePort](s.fleet, h, "ports") {
				if p.BFD == "" {
					continue
				}
				seen++
				if p.BFD != "up" || !strings.Contains(groups, fmt.Sprintf("watch_port:%d,", p.OFPort)) {
					return fmt.Errorf("BFD on %s is %s, and its port %d in the groups:\n%s", p.Name, p.BFD, p.OFPort, groups)
				}
			}
			if seen != len(s.Hosts())-1 {
				return fmt.Errorf("%d tunnels are watched", seen)
			}
			return nil
		})
	}
}

// same waits until each switch has what it should have.
func (s *soak) same(why string, want map[string][]string) {
	s.t.Helper()
	for _, h := range s.Hosts() {
		s.eventually(fmt.Sprintf("%s to have %s", h.Name(), why), func() error {
			has := s.contents(h)
			var differ []string
			for _, line := range has {
				if _, found := slices.BinarySearch(want[h.Name()], line); !found {
					differ = append(differ, "+ "+line)
				}
			}
			for _, line := range want[h.Name()] {
				if _, found := slices.BinarySearch(has, line); !found {
					differ = append(differ, "- "+line)
				}
			}
			if len(differ) > 0 {
				return fmt.Errorf("%d differ:\n%s", len(differ), strings.Join(differ[:min(len(differ), 20)], "\n"))
			}
			return nil
		})
	}
}

// recomputed empties the switches of hosts under new daemons: what those make of the store is what was there.
func (s *soak) recomputed(hosts []*lab.Host) {
	s.t.Helper()
	s.log("%d switches are emptied", len(hosts))
	before := s.switches()
	for i, h := range s.Hosts() {
		if slices.Contains(hosts, h) {
			s.check(h.StopDaemon(s.ctx))
			s.on(h, "ovs-ofctl -O OpenFlow15 del-groups br-int")
			s.on(h, "ovs-ofctl -O OpenFlow15 del-flows br-int")
			s.start(i)
		}
	}
	s.same("what a new daemon makes of the store", before)
	s.reachable()
}

// auditsFoundNothing asks what was found in the switches that our daemons had not put there.
func (s *soak) auditsFoundNothing() {
	s.t.Helper()
	for _, h := range s.Hosts() {
		a := s.auditPasses(h)
		for kind, n := range a.Drift {
			if n > 0 {
				s.t.Errorf("%s: the audit found %d flows or groups %s: %v", h.Name(), n, kind, a.Last)
			}
		}
		s.eventually(h.Name()+" to have no problems", func() error {
			if health := ask[model.NodeHealth](s.fleet, h, "health"); len(health.Problems) > 0 {
				return fmt.Errorf("%+v", health.Problems)
			}
			return nil
		})
	}
}

// usage is what a process of the first host holds.
type usage struct{ goroutines, daemonFiles, switchFiles, megabytes int }

func (s *soak) usage() (u usage) {
	s.t.Helper()
	h := s.host(0)
	page := s.on(h, "wget -q -O - http://127.0.0.1:9476/metrics")
	number := func(name string) int {
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(page)
		if m == nil {
			s.t.Fatalf("no %s on the page of metrics", name)
		}
		v, err := strconv.ParseFloat(m[1], 64)
		s.check(err)
		return int(v)
	}
	u = usage{goroutines: number("go_goroutines"), megabytes: number("process_resident_memory_bytes") / 1e6}
	for _, p := range s.Processes() {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID))
		switch {
		case p.Node != h.Name() || err != nil:
		case p.Name == "tuplenet":
			u.daemonFiles = len(files)
		case p.Name == "ovs-vswitchd":
			u.switchFiles = len(files)
		}
	}
	return u
}

// nothingLeaked compares what the first host holds with what it held in the same state before. Some come and go: questions
// under way, connections to a new etcd.
func (s *soak) nothingLeaked(before usage) {
	s.t.Helper()
	var now usage
	s.eventually("what the first host holds to be what it was", func() error {
		now = s.usage()
		if now.goroutines > before.goroutines+3 || now.daemonFiles > before.daemonFiles+3 || now.switchFiles > before.switchFiles+3 ||
			now.megabytes > 3*before.megabytes/2+20 {
			return fmt.Errorf("%+v, before %+v", now, before)
		}
		return nil
	})
	s.t.Logf("the first host: %+v before, %+v now", before, now)
	for _, h := range s.Hosts() {
		if names := s.on(h, "ip netns list"); strings.Count(names, "\n") > 1 {
			s.t.Errorf("%s has namespaces left: %s", h.Name(), names)
		}
	}
}
