package tpctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

func TestReferencePagesAreCurrent(t *testing.T) {
	const dir = "../docs/reference/tpctl"
	want := Reference(NewCommand(Env{}))
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != text {
			t.Errorf("%s is not current: run `make gen` (%v)", name, err)
		}
	}
	for _, name := range []string{"README.md", "ls.md", "lsp.md", "lr.md", "lrp.md", "ch.md", "completion.md", "version.md"} {
		if want[name] == "" {
			t.Errorf("there is no page %s", name)
		}
	}
}

func TestWriteReferenceDeletesPagesOfFormerCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "former.md")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code := Main(context.Background(), Env{Args: []string{"reference", dir}, Getenv: func(string) string { return "" }}); code != ExitOK {
		t.Fatalf("exit code %d", code)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old page is still there: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "lsp.md")); err != nil || !strings.Contains(string(text), "tpctl lsp add SWITCH PORT [IP[,IP6]] [MAC] [PEER]") {
		t.Errorf("lsp.md: %v\n%s", err, text)
	}
}

// Whoever adds a command gets a complaint here if the help says nothing of it or its shape is not the usual one.
func TestEveryCommandIsDescribedAndHasTheUsualShortVerb(t *testing.T) {
	short := map[string]string{"add": "a", "del": "d", "show": "s"}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short description %q is missing or ends with a dot", c.CommandPath(), c.Short)
		}
		if want := short[c.Name()]; want != "" && !c.HasAlias(want) {
			t.Errorf("%s has no alias %s", c.CommandPath(), want)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(NewCommand(Env{}))
}

func TestExitCodesTellWhatWentWrong(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("invalid"), 1},
		{errCanceled, 1},
		{store.ErrChildren, 1},
		{store.ErrNewerSchema, 1},
		{usagef("require a name"), 2},
		{fmt.Errorf("switch X: %w", store.ErrNotFound), 3},
		{fmt.Errorf("switch X: %w", store.ErrExists), 4},
		{fmt.Errorf("address: %w", store.ErrConflict), 4},
		{notConverged{"late"}, 5},
		{fmt.Errorf("read: %w", store.ErrUnreachable), 6},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), 6},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

func TestErrorsTakeOneLine(t *testing.T) {
	if got := oneLine(errors.New("first\nsecond   thing\n")); got != "first; second thing;" {
		t.Errorf("%q", got)
	}
}

func TestLateTextNamesAtMostThreeChassis(t *testing.T) {
	r := store.Receipt{Affected: 5, Applied: 1, Elapsed: 2 * time.Second, Laggards: []store.Laggard{
		{Chassis: "a", Applied: 7, Age: 1500 * time.Millisecond, Reason: "OVS is away"}, {Chassis: "b"}, {Chassis: "c"}, {Chassis: "d"},
	}}
	want := "not applied everywhere: applied on 1/5 affected chassis in 2000 ms, revision 9 is missing on a at revision 7, reported 2s ago: OVS is away; b; c; and 1 more"
	if got := lateText(r, 9); got != want {
		t.Errorf("%s", got)
	}
}

func TestInterruptAtTheQuestionCancels(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, w, err := os.Pipe() // a pipe that never says anything
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	var stdout, stderr bytes.Buffer
	code := Main(ctx, Env{
		Args: []string{"ls", "del", "-r", "X"}, Stdin: r, Stdout: &stdout, Stderr: &stderr,
		Getenv: func(string) string { return "" },
	})
	if code != ExitRefused || stderr.String() != "operation canceled\n" {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}

func TestSettingsOfEveryOptionComeFromOptionThenEnvironmentThenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	text := "endpoints: [f:1]\nprefix: /f\ncacert: f.ca\ncert: f.crt\nkey: f.key\nuser: f\npassword: fp\noutput: table\ntimeout: 3s\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	resolve := func(args []string, env map[string]string) settings {
		t.Helper()
		flags := noFlags()
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		s, err := resolveSettings(flags, Env{Getenv: func(name string) string { return env[name] }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	check := func(got settings, want string) {
		t.Helper()
		text := fmt.Sprint(got.Endpoints, got.Prefix, " ", got.CACert, " ", got.Cert, " ", got.Key, " ", got.User, " ", got.Password, " ", got.Output, " ", got.Timeout)
		if text != want {
			t.Errorf("got  %s\nwant %s", text, want)
		}
	}
	env := map[string]string{"TPCTL_CONFIG": file}
	check(resolve(nil, nil), "[127.0.0.1:2379]/tuplenet      plain 10s")
	check(resolve(nil, env), "[f:1]/f f.ca f.crt f.key f fp table 3s")
	for _, name := range []string{"ENDPOINTS", "CACERT", "CERT", "KEY"} {
		env["ETCDCTL_"+name] = "etcdctl-" + name
	}
	env["ETCDCTL_USER"] = "e:ep"
	check(resolve(nil, env), "[etcdctl-ENDPOINTS]/f etcdctl-CACERT etcdctl-CERT etcdctl-KEY e ep table 3s")
	for _, name := range []string{"ENDPOINTS", "CACERT", "CERT", "KEY", "PREFIX", "USER", "PASSWORD"} {
		env["TPCTL_"+name] = "tpctl-" + name
	}
	env["TPCTL_OUTPUT"], env["TPCTL_TIMEOUT"] = "yaml", "4s"
	check(resolve(nil, env), "[tpctl-ENDPOINTS]tpctl-PREFIX tpctl-CACERT tpctl-CERT tpctl-KEY tpctl-USER tpctl-PASSWORD yaml 4s")
	args := strings.Fields("-e o:1,o:2 -p /o --cacert o.ca --cert o.crt --key o.key --user o:op -o plain --timeout 5s")
	check(resolve(args, env), "[o:1 o:2]/o o.ca o.crt o.key o op plain 5s")
}

func TestInvalidObjectsAreNamedBesideTheListing(t *testing.T) {
	snap := &store.Snapshot{Problems: map[model.Ref]model.Problem{}}
	for _, ref := range []model.Ref{
		{Kind: model.KindSwitchPort, Parent: "LS-B", Name: "p2"},
		{Kind: model.KindSwitchPort, Parent: "LS-A", Name: "p1"},
		{Kind: model.KindSwitchPort, Parent: "LS-A", Name: "p0"},
	} {
		snap.Problems[ref] = model.Problem{Key: ref.String(), Reason: "broken"}
	}
	for _, c := range []struct{ ls, name, want string }{
		{"", "", "switchport/LS-A/p0 switchport/LS-A/p1 switchport/LS-B/p2"},
		{"LS-A", "", "switchport/LS-A/p0 switchport/LS-A/p1"},
		{"LS-A", "p1", "switchport/LS-A/p1"},
		{"LS-C", "", ""},
	} {
		var keys []string
		for _, p := range listSwitchPorts(snap, nil, c.ls, c.name).broken {
			keys = append(keys, p.Key)
		}
		if got := strings.Join(keys, " "); got != c.want {
			t.Errorf("%q %q: %s", c.ls, c.name, got)
		}
	}
}
