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

// playground is a sandbox of a test's own: the time that it has, its name, and how its commands are run, which have to succeed.
func playground(t *testing.T, name string) (ctx context.Context, full string, run func(args ...string) string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	full = os.Getenv("TUPLENET_LAB_PREFIX") + name
	t.Cleanup(func() {
		if err := lab.Remove(context.Background(), "", full); err != nil {
			t.Error(err)
		}
	})
	return ctx, full, func(args ...string) string {
		t.Helper()
		out, err := sandbox(ctx, full, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func TestTheSandboxWithEdgesIsThereForEverybodyToPlay(t *testing.T) {
	t.Parallel()
	ctx, name, run := playground(t, "played")
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

func TestX01_X04_X07_X09_PodsOfAllHostsComeAndGoWithOneCommand(t *testing.T) {
	t.Parallel()
	ctx, name, run := playground(t, "pods")
	variables := func(args ...string) { // with the environment of the seed
		t.Helper()
		c := exec.CommandContext(ctx, filepath.Join(bin, "tpctl"), append([]string{"sandbox", "--name", name}, args...)...)
		c.Env = append(os.Environ(), "NPODS=2", "PODIF=hostname")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	reach := func(from, to string) {
		t.Helper()
		if err := lab.WaitFor(ctx, "an answer of "+to+" to "+from, func() error {
			_, err := sandbox(ctx, name, "exec", from, "--", "ping", "-c", "1", "-W", "1", to)
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	here := func() string {
		return run("exec", "bob", "--", "sh", "-c", "ip netns; ip -br link; ovs-vsctl list-ports br-int; tpctl ls show; tpctl lsp show")
	}
	count := func(want int) {
		t.Helper()
		for _, host := range []string{"alice", "bob"} {
			if out := run("exec", host, "--", "ip", "netns"); strings.Count(out, host+"-ns") != want {
				t.Errorf("%s has not %d pods:\n%s", host, want, out)
			}
		}
	}
	run("up")
	before := here()

	run("pods", "create", "2", "--pod-if", "eth0")
	run("pods", "create", "3")
	run("pods", "create", "3")
	count(3)
	reach("alice-ns01", "172.16.2.3")
	reach("bob-ns03", "1000::1:172.16.1.2")
	if out := run("exec", "bob-ns03", "--", "ip", "-br", "addr", "show", "eth0"); !strings.Contains(out, "172.16.2.3/16") {
		t.Errorf("eth0 of the third pod of bob: %s", out)
	}
	run("pods", "delete")

	variables("pods", "create", "--macvlan")
	count(2)
	if out := run("exec", "bob-ns02", "--", "ip", "-d", "link", "show", "bob-ns02"); !strings.Contains(out, "macvlan") {
		t.Errorf("the interface of bob-ns02: %s", out)
	}
	reach("bob-ns02", "172.16.2.1")
	reach("bob-ns02", "172.16.1.1") // whose MAC nobody has declared
	run("pods", "del")
	run("pods", "del")
	if after := here(); after != before {
		t.Errorf("left behind: before\n%s\nand after\n%s", before, after)
	}
	run("down")
	if left := lab.Leftovers("", name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
