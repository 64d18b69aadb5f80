package tpctl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"tuplenet/model/store"
)

// parallel runs n command lines at the same time, and returns how often each exit code and each error came.
func parallel(t *testing.T, n int, endpoints string, line func(i int) string) (codes map[int]int, stderr []string) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	codes = map[int]int{}
	env := map[string]string{"TPCTL_ENDPOINTS": endpoints, "TPCTL_TIMEOUT": "60s"}
	for i := range n {
		wg.Go(func() {
			var out, errs bytes.Buffer
			code := Main(context.Background(), Env{
				Args: strings.Fields(line(i)), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
				Getenv: func(name string) string { return env[name] },
			})
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
			if errs.Len() > 0 {
				stderr = append(stderr, errs.String())
			}
		})
	}
	wg.Wait()
	return codes, stderr
}

func TestT05T13ManyAtTheSameTime(t *testing.T) {
	etcd := startStore(t)
	endpoints := strings.Join(etcd.Endpoints(), ",")

	t.Run("200 switches get 200 distinct numbers", func(t *testing.T) {
		codes, stderr := parallel(t, 200, endpoints, func(i int) string { return fmt.Sprintf("ls add LS-%d", i) })
		if codes[ExitOK] != 200 {
			t.Fatalf("exit codes %v: %q", codes, stderr)
		}
		var out bytes.Buffer
		code := Main(context.Background(), Env{
			Args: []string{"-e", endpoints, "ls", "show", "-j"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
			Getenv: func(string) string { return "" },
		})
		var switches []struct {
			Name string
			VNI  int
		}
		if err := json.Unmarshal(out.Bytes(), &switches); err != nil || code != ExitOK {
			t.Fatalf("exit code %d: %v: %s", code, err, out.String())
		}
		numbers := map[int]bool{}
		for _, ls := range switches {
			numbers[ls.VNI] = true
		}
		if len(switches) != 200 || len(numbers) != 200 {
			t.Errorf("%d switches with %d distinct numbers", len(switches), len(numbers))
		}
	})

	t.Run("of 50 ports with one address one is made", func(t *testing.T) {
		codes, stderr := parallel(t, 50, endpoints, func(i int) string { return fmt.Sprintf("lsp add LS-0 p%d 10.0.0.1", i) })
		if codes[ExitOK] != 1 || codes[ExitConflict] != 49 {
			t.Errorf("exit codes %v: %q", codes, stderr)
		}
		for _, text := range stderr {
			if !strings.HasPrefix(text, "conflict with other IP") {
				t.Errorf("%q", text)
			}
		}
	})
}

// startStore runs an etcd for the test.
func startStore(t *testing.T) *store.Embedded {
	t.Helper()
	etcd, err := store.EmbeddedConfig{Dir: t.TempDir(), Listen: "http://127.0.0.1:0", UnsafeNoSync: true}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcd.Close() })
	return etcd
}
