//go:build integration

package ofconn_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tuplenet/datapath/ofconn"
	"tuplenet/datapath/ovstest"
	"tuplenet/flows/of"
	"tuplenet/flows/of/oftest"
)

// geneve is the option that TunMetadata0 stands for.
var geneve = []ofconn.TLV{{Class: 0xffee, Type: 0x80, Len: 8, Index: 0}}

// equip gives a switch what the sample flows refer to.
func equip(t *testing.T, s *ofconn.Session) {
	t.Helper()
	must(t, s.AddTLV(soon(t), geneve))
	for _, m := range oftest.Meters() {
		must(t, s.SetMeter(soon(t), m))
	}
	var mods []ofconn.Mod
	for _, g := range oftest.Groups() {
		mods = append(mods, ofconn.AddGroup{PackedGroup: packedGroup(t, g)})
	}
	must(t, s.Bundle(soon(t), mods))
}

func TestEverySampleFlowIsAcceptedAndReadBackUnderItsHash(t *testing.T) {
	_, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	equip(t, s)
	samples := oftest.Samples()
	var mods []ofconn.Mod
	for _, f := range samples {
		mods = append(mods, add(t, f))
	}
	if err := s.Bundle(soon(t), mods); err != nil {
		if be, ok := err.(*ofconn.BundleError); ok {
			for i, e := range be.Failed {
				t.Errorf("%s: %v", samples[i], e)
			}
		}
		t.Fatal(err)
	}
	have := flows(t, s)
	for _, f := range samples {
		p := packed(t, f)
		d, ok := have[p.Hash()]
		if !ok {
			t.Errorf("not in the switch: %s", f)
			continue
		}
		got, err := d.Flow()
		if err != nil {
			t.Errorf("%s: read back: %v", f, err)
			continue
		}
		sent := f
		sent.Match, got.Match = f.Match.Plain(), got.Match.Plain()
		if sent.String() != got.String() {
			t.Errorf("sent %s\ngot  %s", sent, got)
		}
	}
	if len(have) != len(samples) {
		t.Errorf("%d flows in the switch, %d sent", len(have), len(samples))
	}
}

func TestOvsOfctlReadsOurTextAsTheSameFlow(t *testing.T) {
	l, s := connect(t, ofconn.Config{}, ovstest.Config{Ports: []string{"p1", "p2"}})
	equip(t, s)
	samples := oftest.Samples()
	// Once by text, once by bytes: the switch must show the same.
	var text strings.Builder
	for _, f := range samples {
		text.WriteString(f.String() + "\n")
	}
	file := filepath.Join(l.ovs.Dir(), "flows")
	must(t, os.WriteFile(file, []byte(text.String()), 0o600))
	l.ovs.Ofctl("add-flows", file)
	byText := shown(l.ovs.Ofctl("dump-flows", "--no-stats"))
	l.ovs.Ofctl("del-flows")
	var mods []ofconn.Mod
	for _, f := range samples {
		mods = append(mods, ofconn.AddFlow{Packed: packed(t, f)})
	}
	must(t, s.Bundle(soon(t), mods))
	byBytes := shown(l.ovs.Ofctl("dump-flows", "--no-stats"))
	for i := range min(len(byText), len(byBytes)) {
		if byText[i] != byBytes[i] {
			t.Errorf("by text  %s\nby bytes %s", byText[i], byBytes[i])
		}
	}
	if len(byText) != len(samples) || len(byBytes) != len(samples) {
		t.Errorf("%d flows, %d by text, %d by bytes", len(samples), len(byText), len(byBytes))
	}
	for _, line := range byText {
		if _, err := of.ParseFlow(line); err != nil {
			t.Errorf("dump: %v", err)
		}
	}
}

// shown are the lines of a dump, without its heading.
func shown(dump string) []string {
	var lines []string
	for line := range strings.Lines(dump) {
		if strings.Contains(line, "actions=") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
