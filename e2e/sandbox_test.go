//go:build integration

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
)

// sandbox runs the built tpctl for a sandbox.
func sandbox(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "tpctl"), append([]string{"sandbox", "--name", name}, args...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("tpctl sandbox %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func TestTheSandboxWithEdgesIsThereForEverybodyToPlay(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	name := os.Getenv("TUPLENET_LAB_PREFIX") + "played"
	t.Cleanup(func() {
		if err := lab.Remove(context.Background(), "", name); err != nil {
			t.Error(err)
		}
	})
	run := func(args ...string) string {
		t.Helper()
		out, err := sandbox(ctx, name, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := run("up", "--tutorial", "--edges", "2", "--one-nic"); !strings.Contains(out, "tpctl lnat add LR-edge2") {
		t.Errorf("it does not tell what it types:\n%s", out)
	}
	for _, ns := range []string{"ns-alice", "ns-bob"} {
		for _, dst := range []string{"192.168.1.250", "198.51.100.10"} {
			run("exec", ns, "--", "ping", "-c", "3", "-i", "0.2", dst)
			if out := run("exec", ns, "--", "wget", "-q", "-S", "-O", "/dev/null", "http://"+dst+"/"); !strings.Contains(out, "X-Client: 192.168.1.30") && !strings.Contains(out, "X-Client: 192.168.1.31") {
				t.Errorf("%s saw %s otherwise than as an edge:\n%s", dst, ns, out)
			}
		}
	}
	if out := run("exec", "far", "--", "hostname"); strings.TrimSpace(out) != "outside" {
		t.Errorf("far is on %q", out)
	}
	run("restart", "edge1")
	run("exec", "edge1", "--", "pkill", "ovs-vswitchd")
	if err := lab.WaitFor(ctx, "a way through the other edge", func() error {
		_, err := sandbox(ctx, name, "exec", "ns-alice", "--", "ping", "-c", "1", "-W", "1", "198.51.100.10")
		return err
	}); err != nil {
		t.Error(err)
	}
	run("down")
	if left := lab.Leftovers("", name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
