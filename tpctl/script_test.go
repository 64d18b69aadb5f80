package tpctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"tuplenet/model"
	"tuplenet/model/store"
)

// patience is how long the store may take for an answer on a busy machine.
const patience = time.Minute

// TestMain is two programs: the tests, and, under the name tpctl, what cmd/tpctl is, for scripts that need a shell.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "tpctl" {
		os.Exit(Main(context.Background(), Env{
			Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
		}))
	}
	completionTimeout = patience
	os.Exit(m.Run())
}

// TestScripts runs the sessions of testdata, each against a prefix of its own in one embedded store.
func TestScripts(t *testing.T) {
	etcd := startStore(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "tpctl")); err != nil {
		t.Fatal(err)
	}
	// The scripts are parallel tests below this one, so that the store is closed after the last of them.
	t.Run("in", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata",
			Setup: func(e *testscript.Env) error {
				name := filepath.Base(e.WorkDir)
				home := filepath.Join(e.WorkDir, "home")
				e.Setenv("HOME", home)
				e.Setenv("NAME", name)
				e.Setenv("TPCTL_ENDPOINTS", strings.Join(etcd.Endpoints(), ","))
				e.Setenv("TPCTL_PREFIX", "/"+name)
				e.Setenv("TPCTL_TIMEOUT", patience.String())
				e.Setenv("PATH", bin+string(filepath.ListSeparator)+e.Getenv("PATH"))
				return os.MkdirAll(home, 0o755)
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"tpctl":   scriptTpctl,
				"exits":   scriptExits,
				"fails":   scriptFails,
				"wrong":   scriptWrong,
				"config":  scriptConfig,
				"chassis": func(ts *testscript.TestScript, _ bool, args []string) { scriptChassis(ts, args, false) },
				"gateway": func(ts *testscript.TestScript, _ bool, args []string) { scriptChassis(ts, args, true) },
				"alive":   scriptAlive,
				"bind":    scriptBind,
				"damage":  scriptDamage,
				"node":    func(ts *testscript.TestScript, _ bool, args []string) { scriptNode(ts, args[0], "") },
				"late":    func(ts *testscript.TestScript, _ bool, args []string) { scriptNode(ts, args[0], args[1]) },
			},
		})
	})
}

// run executes tpctl inside the test, without a terminal and with nothing on stdin.
func run(ts *testscript.TestScript, args []string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(context.Background(), Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: ts.Getenv,
	})
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), errs.String())
	return code, out.String(), errs.String()
}

// tpctl ARGS: has to succeed.
func scriptTpctl(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("say which code: exits CODE tpctl …")
	}
	if code, _, stderr := run(ts, args); code != ExitOK {
		ts.Fatalf("exit code %d: %s", code, stderr)
	}
}

// exits CODE tpctl ARGS: has to fail with that code and exactly one line on stderr.
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code, _, stderr := run(ts, args[2:])
	if code != want {
		ts.Fatalf("exit code %d, want %d: %s", code, want, stderr)
	}
	if strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		ts.Fatalf("stderr is not one line: %q", stderr)
	}
}

// fails tpctl ARGS: the answer is no: code 1, and nothing on stderr.
func scriptFails(ts *testscript.TestScript, _ bool, args []string) {
	if code, _, stderr := run(ts, args[1:]); code != ExitRefused || stderr != "" {
		ts.Fatalf("exit code %d, want %d: %s", code, ExitRefused, stderr)
	}
}

// wrong TEXT ARGS: a wrong number of arguments is answered with exactly that text, and code 2.
func scriptWrong(ts *testscript.TestScript, _ bool, args []string) {
	code, stdout, stderr := run(ts, args[1:])
	if code != ExitUsage || stdout != "" || stderr != args[0]+"\n" {
		ts.Fatalf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// config FILE KEY: VALUE KEY: VALUE …: writes a configuration file, a line for each key.
func scriptConfig(ts *testscript.TestScript, _ bool, args []string) {
	var b strings.Builder
	for i := 1; i+1 < len(args); i += 2 {
		fmt.Fprintf(&b, "%s %s\n", args[i], args[i+1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// openFor opens the store as the script's environment says, until the script ends.
func openFor(ts *testscript.TestScript) *store.Store {
	st, err := store.Open(store.Config{Endpoints: strings.Split(ts.Getenv("TPCTL_ENDPOINTS"), ","), Prefix: ts.Getenv("TPCTL_PREFIX"),
		DialTimeout: patience, LeaseTTL: patience})
	ts.Check(err)
	ts.Defer(func() { st.Close() })
	return st
}

// chassis NAME IP…, gateway NAME IP…: what a node writes of itself.
func scriptChassis(ts *testscript.TestScript, args []string, gateway bool) {
	c := &model.Chassis{Name: args[0], Hostname: "host-of-" + args[0], Encaps: []model.Encap{model.EncapGeneve}, Tick: 1, Gateway: gateway}
	for _, text := range args[1:] {
		ip, err := netip.ParseAddr(text)
		ts.Check(err)
		c.IPs = append(c.IPs, ip)
	}
	_, err := openFor(ts).PutChassis(context.Background(), c)
	ts.Check(err)
}

// alive NAME KEY REASON: the node lives, has applied revision 7 and has that problem.
func scriptAlive(ts *testscript.TestScript, _ bool, args []string) {
	st := openFor(ts)
	lease := hold(ts, st, args[0])
	ts.Check(st.PutStatus(context.Background(), lease, &model.Status{
		Chassis: args[0], Applied: 7, Problems: []model.Problem{{Key: args[1], Reason: args[2]}},
	}))
}

func hold(ts *testscript.TestScript, st *store.Store, name string) *store.Lease {
	lease, err := st.HoldIdentity(context.Background(), store.Identity{Chassis: name, Hostname: "host-of-" + name})
	ts.Check(err)
	ts.Defer(func() { lease.Close(context.Background()) })
	return lease
}

// damage KEY VALUE: what somebody does to the store by hand; without a value the key is removed.
func scriptDamage(ts *testscript.TestScript, _ bool, args []string) {
	c, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(ts.Getenv("TPCTL_ENDPOINTS"), ","), Logger: zap.NewNop()})
	ts.Check(err)
	defer c.Close()
	key := ts.Getenv("TPCTL_PREFIX") + "/v1/" + args[0]
	if len(args) == 1 {
		_, err = c.Delete(context.Background(), key)
	} else {
		_, err = c.Put(context.Background(), key, args[1])
	}
	ts.Check(err)
}

// bind PORT CHASSIS
func scriptBind(ts *testscript.TestScript, _ bool, args []string) {
	_, err := openFor(ts).Bind(context.Background(), args[0], args[1], 0)
	ts.Check(err)
}

// scriptNode is a node that answers every waiter who asks it by name, or, with a reason, one that is behind for ever.
func scriptNode(ts *testscript.TestScript, name, behind string) {
	st := openFor(ts)
	lease := hold(ts, st, name)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ready := make(chan struct{})
	answered := map[string]model.Answer{}
	go func() {
		first := true
		done <- st.Follow(ctx, func(u store.Update) {
			report := &model.Status{Chassis: name, Applied: u.Revision, Answered: answered}
			for _, w := range u.Waiters {
				if w.Asks(name) {
					answered[w.ID] = model.Answer{Affected: true}
				}
			}
			if behind != "" {
				report = &model.Status{Chassis: name, Applied: 1, Behind: behind}
			}
			if first || len(u.Waiters) > 0 {
				_ = st.PutStatus(ctx, lease, report) // fails only when the script is over
			}
			if first {
				first = false
				close(ready)
			}
		})
	}()
	ts.Defer(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			ts.Logf("node %s: %v", name, err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		ts.Fatalf("node %s: %v", name, err)
	}
}
