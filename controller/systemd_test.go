package controller

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestTheSupervisorIsToldHowTheDaemonIs(t *testing.T) {
	dir, err := os.MkdirTemp("", "tn-notify-") // short: the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "s")
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	var s supervisor
	s.status("waiting")
	s.status("waiting")
	s.waiting()
	s.ready()
	s.status("in sync")
	s.alive()
	s.stopping()
	var got []string
	buf := make([]byte, 200)
	_ = listener.SetReadDeadline(time.Now().Add(10 * time.Second))
	for len(got) < 6 {
		n, err := listener.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, string(buf[:n]))
	}
	want := []string{"STATUS=waiting", "EXTEND_TIMEOUT_USEC=30000000", "READY=1", "STATUS=in sync", "WATCHDOG=1", "STOPPING=1"}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestTheWatchdogIsFedTwiceInItsTime(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0},
		{"30000000", fmt.Sprint(os.Getpid()), 15 * time.Second},
		{"30000000", "1", 0}, // meant for another process
		{"nonsense", fmt.Sprint(os.Getpid()), 0},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if got := watchdogPause(); got != c.want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: every %v, want %v", c.usec, c.pid, got, c.want)
		}
	}
}
