package tpctl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"tuplenet/model"
	"tuplenet/model/store"
)

// onStore runs tpctl against a deployment.
func onStore(endpoints, prefix, stdin, line string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(context.Background(), Env{
		Args: strings.Fields("-e " + endpoints + " -p " + prefix + " --timeout 60s --yes " + line), Stdin: strings.NewReader(stdin),
		Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" },
	})
	return code, out.String(), errs.String()
}

// randomLines are commands of which many get into each other's way.
func randomLines(r *rand.Rand, n int) []string {
	pick := func(prefix string, of int) string { return fmt.Sprint(prefix, r.IntN(of)) }
	lines := []string{"ls add s0", "ls add s1 --subnet 10.1.0.0/24"}
	for len(lines) < n {
		var line string
		switch k := r.IntN(100); {
		case k < 2:
			line = "ls add " + pick("s", 6)
		case k < 3:
			line = fmt.Sprintf("ls add %s --mac-prefix 02:0%d", pick("s", 6), r.IntN(3))
		case k < 4:
			line = fmt.Sprintf("ls add %s --type vxlan-multicast", pick("s", 6))
		case k < 6:
			line = fmt.Sprintf("ls add %s --vni %d", pick("s", 4), 1+r.IntN(4))
		case k < 7:
			line = "ls del -r " + pick("s", 4)
		case k < 10:
			line = "lr add " + pick("r", 2)
		case k < 13:
			line = fmt.Sprintf("lrp add %s %s 10.9.%d.1/24", pick("r", 2), pick("rp", 6), r.IntN(8))
		case k < 15:
			line = fmt.Sprintf("lr link %s %s 10.%d.0.254/24", pick("r", 2), pick("s", 6), r.IntN(4))
		case k < 20:
			line = fmt.Sprintf("lsp del %s %s", pick("s", 4), pick("p", 300))
		case k < 25:
			line = fmt.Sprintf("lsp add s1 %s", pick("p", 300))
		case k < 45: // a switch with its ports
			s := pick("s", 6)
			lines = append(lines, fmt.Sprintf("ls add %s --mac-prefix 02:0%d", s, r.IntN(3)))
			for range 30 {
				lines = append(lines, fmt.Sprintf("lsp add %s %s 10.2.%d.%d", s, pick("q", 3000), r.IntN(200), 1+r.IntN(200)))
			}
			line = fmt.Sprintf("lr link %s %s 10.%d.0.254/24", pick("r", 2), s, r.IntN(4))
		default:
			line = fmt.Sprintf("lsp add %s %s 10.%d.0.%d", pick("s", 2), pick("p", 300), r.IntN(2), 1+r.IntN(200))
		}
		lines = append(lines, line)
	}
	return lines
}

// content is what a deployment has, without the numbers that were chosen if those do not matter.
func content(t *testing.T, endpoints, prefix string, numbers bool) []string {
	t.Helper()
	st, err := store.Open(store.Config{Endpoints: []string{endpoints}, Prefix: prefix, DialTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	snap, err := st.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for o := range maps.Values(snap.Objects) {
		switch o := o.(type) {
		case *model.LogicalSwitch:
			if !numbers {
				o.VNI = 1
			}
		case *model.LogicalRouter:
			if !numbers {
				o.ID = 1
			}
		case *model.LogicalSwitchPort:
			if !numbers {
				o.Key = 1
			}
		case *model.LogicalRouterPort:
			if !numbers {
				o.Key = 1
			}
		}
		text, err := model.Encode(o)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o.Ref().String()+" "+string(text))
	}
	slices.Sort(out)
	return out
}

// What is sent together and ahead must come to the same as the lines one after the other: the same objects with the same
// numbers and addresses, the same line that fails first, with the same words.
func TestABatchIsItsLinesOneAfterTheOther(t *testing.T) {
	etcd := startStore(t)
	endpoints := strings.Join(etcd.Endpoints(), ",")
	for seed := range uint64(3) {
		lines := randomLines(rand.New(rand.NewPCG(seed, 1)), 300)
		single, whole := fmt.Sprintf("/one%d", seed), fmt.Sprintf("/all%d", seed)
		var failed []string // "line 7: p1 exists"
		for i, line := range lines {
			if code, _, stderr := onStore(endpoints, single, "", line); code != ExitOK {
				failed = append(failed, fmt.Sprintf("line %d: %s", i+1, strings.TrimSpace(stderr)))
			}
		}
		t.Run(fmt.Sprintf("keep going %d", seed), func(t *testing.T) {
			_, _, stderr := onStore(endpoints, whole, strings.Join(lines, "\n"), "batch --keep-going -f -")
			got := strings.Split(strings.TrimSpace(stderr), "\n")
			got = got[:len(got)-1] // how many
			slices.Sort(got)
			want := slices.Sorted(slices.Values(failed))
			if !slices.Equal(got, want) {
				t.Fatalf("errors\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			same(t, content(t, endpoints, whole, false), content(t, endpoints, single, false))
		})
		t.Run(fmt.Sprintf("stop and go on %d", seed), func(t *testing.T) {
			prefix := fmt.Sprintf("/stop%d", seed)
			rest, from := failed, 1
			for {
				code, _, stderr := onStore(endpoints, prefix, strings.Join(lines, "\n"), fmt.Sprintf("batch -f - --from %d", from))
				if code == ExitOK {
					break
				}
				what, where, _ := strings.Cut(stderr, "; stopped, ")
				if len(rest) == 0 || what != rest[0] {
					t.Fatalf("stopped with %q, want one of %q", stderr, rest)
				}
				_, where, _ = strings.Cut(where, "--from ")
				if _, err := fmt.Sscanf(where, "%d", &from); err != nil || !strings.HasPrefix(what, fmt.Sprintf("line %d:", from)) {
					t.Fatalf("where to go on: %q: %v", stderr, err)
				}
				rest = rest[1:]
				from++ // leave the line out
			}
			if len(rest) > 0 {
				t.Fatalf("did not stop for %q", rest)
			}
			same(t, content(t, endpoints, prefix, true), content(t, endpoints, single, true))
		})
	}
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	for _, o := range got {
		if !slices.Contains(want, o) {
			t.Errorf("has %s", o)
		}
	}
	for _, o := range want {
		if !slices.Contains(got, o) {
			t.Errorf("lacks %s", o)
		}
	}
}

func TestAdditionsAreSentTogether(t *testing.T) {
	etcd := startStore(t)
	var lines []string
	for s := range 5 {
		lines = append(lines, fmt.Sprintf("ls add s%d", s), fmt.Sprintf("lr add r%d", s), fmt.Sprintf("lr link r%d s%d 10.%d.0.254/24,2001:db8:%d::1/64", s, s, s, s))
		for p := range 100 {
			lines = append(lines, fmt.Sprintf("lsp add s%d p%d-%d 10.%d.0.%d,2001:db8:%d::1:%x", s, s, p, s, p+1, s, p))
		}
	}
	code, stdout, stderr := onStore(strings.Join(etcd.Endpoints(), ","), "/together", strings.Join(lines, "\n"), "batch -j -f -")
	var answer batchSummary
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != ExitOK || answer.Done != len(lines) {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if answer.Transactions > len(lines)/12 {
		t.Fatalf("%d transactions for %d lines", answer.Transactions, len(lines))
	}
}

func TestAnInterruptedBatchSaysWhereItGoesOn(t *testing.T) {
	etcd := startStore(t)
	endpoints := strings.Join(etcd.Endpoints(), ",")
	ctx, cancel := context.WithCancel(t.Context())
	in := &interruptedInput{lines: 400, after: 300, cancel: cancel}
	var out, errs bytes.Buffer
	code := Main(ctx, Env{Args: strings.Fields("-e " + endpoints + " --timeout 60s batch -f -"), Stdin: in, Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" }})
	var done, from int
	_, where, _ := strings.Cut(errs.String(), "; stopped, ")
	if _, err := fmt.Sscanf(where, "%d lines are done, go on with --from %d", &done, &from); err != nil || code == ExitOK || from != done+1 {
		t.Fatalf("exit code %d, %q: %v", code, errs.String(), err)
	}
	if made := len(content(t, endpoints, "/tuplenet", true)); made != done {
		t.Fatalf("%d lines are done, but %d objects are there", done, made)
	}
	if code, _, stderr := onStore(endpoints, "/tuplenet", in.text(), fmt.Sprint("batch -f - --from ", from)); code != ExitOK {
		t.Fatalf("going on: %s", stderr)
	}
	if made := len(content(t, endpoints, "/tuplenet", true)); made != in.lines {
		t.Fatalf("%d objects in the end", made)
	}
}

// interruptedInput gives lines and interrupts at one of them.
type interruptedInput struct {
	lines, after, given int
	cancel              func()
}

func (in *interruptedInput) line(i int) string {
	if i == 0 {
		return "ls add LS\n"
	}
	return fmt.Sprintf("lsp add LS p%d 10.0.%d.%d\n", i, i/200, 1+i%200)
}

func (in *interruptedInput) text() (all string) {
	for i := range in.lines {
		all += in.line(i)
	}
	return all
}

func (in *interruptedInput) Read(b []byte) (int, error) {
	if in.given == in.after {
		in.cancel()
	}
	in.given++
	return copy(b, in.line((in.given-1)%in.lines)), nil
}

func TestProgressIsShownAsABar(t *testing.T) {
	if got, want := progressText(500, 1000, 2000, 500*time.Millisecond), "[###############...............]  50 %  2000 lines, 4000 a second"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	if got, want := progressText(500, 0, 2000, time.Second), "2000 lines, 2000 a second"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}

// A line that waits behind another one of a few asks the nodes by the transaction of that line, and nothing of it is left at the end.
func TestP16_ALineThatWaitsAsksWithTheLineBefore(t *testing.T) {
	etcd := startStore(t)
	c, err := clientv3.New(clientv3.Config{Endpoints: etcd.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lines := "ls add LS\nls add out\nlr add LR\nlr link LR LS 10.0.0.254/24\nlr link LR out 192.0.2.1/24\nwait\n" +
		"lsp add LS a 10.0.0.1\nwait\nlnat add LR n 10.0.0.1/32 dnat_and_snat 192.0.2.9\ntpctl wait 10s # now\nlsp add LS b\nwait\nlsp del LS a\nwait\nlr del LR -r\nwait\nls add LS2\nwait\n"
	code, stdout, stderr := onStore(strings.Join(etcd.Endpoints(), ","), "/waits", lines, "batch --yes -f -")
	if code != ExitOK || strings.Count(stdout, "applied on 0/0 affected chassis") != 7 || !strings.Contains(stderr, "LR is not pinned to a chassis") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	asked := map[string]bool{} // what was written together with a request
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for resp := range c.Watch(ctx, "/waits/v1/", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		byRevision := map[int64][]string{}
		for _, e := range resp.Events {
			byRevision[e.Kv.ModRevision] = append(byRevision[e.Kv.ModRevision], fmt.Sprint(e.Type, " ", strings.TrimPrefix(string(e.Kv.Key), "/waits/v1/")))
		}
		for _, keys := range byRevision {
			if slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, "PUT sync/") }) {
				for _, k := range keys {
					asked[k] = true
				}
			}
		}
		if resp.Header.Revision == resp.Events[len(resp.Events)-1].Kv.ModRevision {
			break
		}
	}
	for _, k := range []string{"PUT spec/switchport/LS/a", "PUT spec/nat/LR/n", "PUT spec/switchport/LS/b", "DELETE spec/switchport/LS/a"} {
		if !asked[k] {
			t.Errorf("%s without a request: %v", k, slices.Sorted(maps.Keys(asked)))
		}
	}
	left, err := c.Get(ctx, "/waits/v1/sync/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || len(left.Kvs) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
