//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBenchCycles adds and deletes a port 10,000 times while a daemon follows, and measures its memory.
func TestBenchCycles(t *testing.T) {
	o := newOurs(t, "cycles")
	o.start(0)
	o.tpctl("ls", "add", "ls0")
	o.tpctl("lsp", "add", "ls0", portName(0, 0), portIP(0, 0).String())
	o.local(0, 0)
	cycles := func(first, n int) {
		var text strings.Builder
		for i := first; i < first+n; i++ {
			fmt.Fprintf(&text, "lsp add ls0 c%d 10.0.1.%d\nlsp del ls0 c%d\n", i, i%250, i)
		}
		file := filepath.Join(t.TempDir(), "cycles.txt")
		o.check(os.WriteFile(file, []byte(text.String()), 0o600))
		o.tpctl("batch", "-f", file)
	}
	r := &record{t: t, run: newRun(t, "cycles", 0, ""), ours: true, targets: map[string]target{}}
	cycles(0, 1000)
	before, _ := o.atRest(o.Hosts()[0].Daemon())
	r.add("memory of the daemon after 1,000 ports added and deleted", "MB", before)
	cycles(1000, 10_000)
	after, peak := o.atRest(o.Hosts()[0].Daemon())
	r.add("memory of the daemon after 11,000", "MB", after)
	r.add("at most", "MB", peak)
	r.add("flows in the end", "flows", float64(o.flows(0)))
	write(t, r.run)
}
