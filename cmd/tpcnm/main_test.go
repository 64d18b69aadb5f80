package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMain is the program itself when the test has started it as such.
func TestMain(m *testing.M) {
	if os.Getenv("TPCNM_TEST_AS_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestT47_ASocketOpenedBySystemdIsServed(t *testing.T) {
	dir, err := os.MkdirTemp("", "tpcnm") // short: the path of a socket has a limit
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0"`, os.Args[0]) // sd_listen_fds(3)
	var log bytes.Buffer
	cmd.Env = append(os.Environ(), "TPCNM_TEST_AS_PROGRAM=1", "TPCNM_ETCD_CLUSTER=127.0.0.1:1", "TPCNM_OVSDB_SOCKET="+dir+"/none")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{file}, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Dial: func(string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	// Nobody waits for the program: the socket was open before it.
	resp, err := client.Post("http://plugin/Plugin.Activate", "application/json", nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", resp, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, &log)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket is systemd's, and is gone: %v", err)
	}
}

func TestT46_WrongCommandLinesAndConfigurationsAreExplained(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"etcd": "x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args, out, complaint string
		code                 int
	}{
		{args: "-h", out: `"etcd_cluster": `, code: exitOK},
		{args: "--version", out: "tpcnm unknown", code: exitOK},
		{args: "", complaint: "-config FILE", code: exitUsage},
		{args: "-config " + bad, complaint: `unknown field "etcd"`, code: exitUsage},
		{args: "-config /nonexistent/tpcnm.json", complaint: "no such file", code: exitUsage},
		{args: "gc -config /nonexistent/tpcnm.json", complaint: "no such file", code: exitUsage},
		{args: "-nonsense", complaint: "usage: tpcnm -config FILE", code: exitUsage},
		{args: "-config x y", complaint: `unexpected argument "y"`, code: exitUsage},
	} {
		var out, complaint bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), func(string) string { return "" }, &out, &complaint)
		if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(complaint.String(), c.complaint) {
			t.Errorf("tpcnm %s: %d\n%s%s", c.args, code, &out, &complaint)
		}
	}
}
