package controller

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestT66_TheRunFolderHasTheNumberOfTheOneDaemonThatUsesIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "tuplenet")
	unlock, err := lockPidFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "tuplenet.pid")
	if b, err := os.ReadFile(name); err != nil || string(b) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("the file has %q, %v", b, err)
	}
	if _, err := lockPidFile(dir); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("a second daemon: %v", err)
	}
	unlock()
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("the file stays: %v", err)
	}
}

func TestAPidFileOfAKilledDaemonDoesNotHinder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tuplenet.pid"), []byte("999999 and more\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockPidFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if b, _ := os.ReadFile(filepath.Join(dir, "tuplenet.pid")); string(b) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("the file has %q", b)
	}
}

// The lock of a daemon that was killed is free a moment after its end is seen.
func TestTheLockOfADaemonThatJustEndedIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockPidFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tuplenet.pid"), fmt.Appendln(nil, gone.Process.Pid), 0o644); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, unlock)
	again, err := lockPidFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestARunFolderThatCannotBeMadeIsNamed(t *testing.T) {
	if _, err := lockPidFile("/dev/null/run"); err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("error %v", err)
	}
}
