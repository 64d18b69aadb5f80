//go:build integration

package tpctl_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"tuplenet/e2e/lab"
	"tuplenet/tpctl"
)

// sandboxRun runs tpctl in this process.
func sandboxRun(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = tpctl.Main(t.Context(), tpctl.Env{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" },
	})
	return out.String(), errs.String(), code
}

func TestASandboxIsShownEnteredAndRemoved(t *testing.T) {
	const name = "tpctl-test"
	t.Cleanup(func() { _ = lab.Remove(context.Background(), "", name) })
	l, err := lab.New(t.Context(), lab.TutorialConfig(name, "", []string{"alice", "bob"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Detach(); err != nil {
		t.Fatal(err)
	}

	out, _, code := sandboxRun(t, "", "sandbox", "status", "--name", name)
	if code != 0 || !strings.Contains(out, "alice") || !strings.Contains(out, "192.168.1.11") || !strings.Contains(out, "ovs-vswitchd") {
		t.Errorf("status: code %d\n%s", code, out)
	}
	if out, _, code = sandboxRun(t, "", "sandbox", "status", "--name", name, "-o", "json"); code != 0 || !strings.Contains(out, `"running": true`) {
		t.Errorf("status as JSON: code %d\n%s", code, out)
	}
	if out, _, code = sandboxRun(t, "", "sandbox", "exec", "--name", name, "bob", "--", "hostname"); code != 0 || out != "bob\n" {
		t.Errorf("hostname on bob: code %d, %q", code, out)
	}
	if out, _, code = sandboxRun(t, "echo from $(hostname)\n", "sandbox", "exec", "--name", name, "alice", "sh"); code != 0 || out != "from alice\n" {
		t.Errorf("a script on alice: code %d, %q", code, out)
	}
	if _, errs, code := sandboxRun(t, "", "sandbox", "exec", "--name", name, "alice", "--", "sh", "-c", "exit 7"); code != 7 || errs != "" {
		t.Errorf("a command that ends with 7: code %d, says %q", code, errs)
	}
	if _, errs, code := sandboxRun(t, "", "sandbox", "exec", "--name", name, "carol", "--", "true"); code != tpctl.ExitNotFound || !strings.Contains(errs, "carol not found") {
		t.Errorf("a host that is not there: code %d, says %q", code, errs)
	}
	if _, errs, code := sandboxRun(t, "", "sandbox", "up", "--name", name); code != tpctl.ExitRefused || !strings.Contains(errs, "in use") {
		t.Errorf("up when it is up: code %d, says %q", code, errs)
	}
	if _, errs, code := sandboxRun(t, "", "sandbox", "down", "--name", name); code != 0 {
		t.Errorf("down: code %d, says %q", code, errs)
	}
	if left := lab.Leftovers("", name); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, errs, code := sandboxRun(t, "", "sandbox", "down", "--name", name); code != tpctl.ExitNotFound || !strings.Contains(errs, "not found") {
		t.Errorf("down again: code %d, says %q", code, errs)
	}
}

func TestTheSandboxTakesPlansThatFitOnly(t *testing.T) {
	for _, args := range []string{"--hosts 0", "--hosts 33", "--hosts 1 --tutorial", "--edges 5", "--edges -1", "--edges 1 --hosts 5", "--underlay v5"} {
		_, errs, code := sandboxRun(t, "", append([]string{"sandbox", "up", "--name", "tpctl-refused"}, strings.Fields(args)...)...)
		if code != tpctl.ExitUsage || errs == "" {
			t.Errorf("%s: code %d, says %q", args, code, errs)
		}
	}
	if left := lab.Leftovers("", "tpctl-refused"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPodsAreAskedForInWordsThatAreUnderstood(t *testing.T) {
	for _, args := range []string{"create 0", "create -1", "create many", "create 1 2", "create 1 --pod-if eth7", "delete all"} {
		_, errs, code := sandboxRun(t, "", append([]string{"sandbox", "--name", "tpctl-refused", "pods"}, strings.Fields(args)...)...)
		if code != tpctl.ExitUsage || errs == "" {
			t.Errorf("%s: code %d, says %q", args, code, errs)
		}
	}
	if _, errs, code := sandboxRun(t, "", "sandbox", "--name", "tpctl-refused", "pods", "create"); code != tpctl.ExitNotFound {
		t.Errorf("pods without a sandbox: code %d, says %q", code, errs)
	}
}
