package compile_test

import (
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"tuplenet/model"
)

// Frames for MACs that nobody has declared go to all ports behind which they may be until their owner is heard, then to it alone, over
// every kind of tunnel; to the port where it was heard last, and to declared MACs as intent says.
func TestU18_FramesGoWhereMACsWereHeardLast(t *testing.T) {
	ar, err := txtar.ParseFile("testdata/U18-learning.txtar")
	if err != nil {
		t.Fatal(err)
	}
	w := parse(t, section(ar, "intent"))
	n := &network{world: w, t: t, learns: true}
	n.reload()
	const experiment = 0x88b5
	first, second, fixed := model.MAC{2, 0, 0, 0, 0, 1}, model.MAC{2, 0, 0, 0, 0, 2}, model.MAC{0xf2, 1, 0, 0, 0, 3}
	for i, s := range []struct {
		port     string
		src, dst model.MAC
		want     string
	}{
		{"left", first, second, "to far, to right"},
		{"fixed", fixed, second, "to far, to left, to right"},
		{"right", second, first, "to left"},
		{"far", second, broadcast, "to fixed, to left, to right"}, // second moves
		{"left", first, second, "to far"},
		{"right", nobody, second, "to far"},
		{"far", nobody, fixed, "to fixed"},
		{"left", fixed, broadcast, "drop declared-source"},
		{"left", first, fixed, "to fixed"},
		{"fixed", first, second, "drop spoofed-mac"},
		{"left", model.MAC{0xf2, 1, 0, 0, 0, 1}, nobody, "to far"}, // its own MAC needs no learning
		{"far", nobody, model.MAC{0xf2, 1, 0, 0, 0, 1}, "to left"},
		{"right", model.MAC{0x33, 0, 0, 0, 0, 1}, first, "drop multicast-source"},
	} {
		if got := n.fate(n.send(s.port, frame(s.src, s.dst, experiment))); got != s.want {
			t.Errorf("frame %d, from %s: got %q, want %q", i, s.port, got, s.want)
		}
	}
}
