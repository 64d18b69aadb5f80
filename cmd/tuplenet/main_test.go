package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tuplenet/controller"
)

// result of a command line.
type result struct {
	code        int
	out, errors string
}

// start runs a command line that ends by itself.
func start(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	getenv := func(name string) string {
		if name == "TUPLENET_CONFIG" && env[name] == "" {
			return os.DevNull
		}
		return env[name]
	}
	code := run(t.Context(), args, getenv, &out, &errs)
	return result{code, out.String(), errs.String()}
}

func TestT18_TheVersionIsPrinted(t *testing.T) {
	for _, flag := range []string{"-v", "--version"} {
		if r := start(t, nil, flag); r.code != 0 || r.out != "tuplenet "+version+"\n" {
			t.Errorf("%s: %+v", flag, r)
		}
	}
}

func TestT18_AWrongCommandLineEndsWithTwoAndOneLine(t *testing.T) {
	for _, args := range [][]string{{}, {"--colour"}, {"run"}, {"--interval", "soon"}, {"--ip", "fe80::1"}, {"--interface", "eth0", "--log-level", "loud"}} {
		r := start(t, nil, args...)
		if r.code != 2 || strings.Count(r.errors, "\n") != 1 || !strings.HasPrefix(r.errors, "tuplenet: ") {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

func TestT66_WhatStopsTheDaemonIsOnStandardErrorAndInTheLogFile(t *testing.T) {
	dir := t.TempDir()
	r := start(t, map[string]string{"TUPLENET_RUNDIR": "/dev/null/run", "TUPLENET_LOG_DIR": filepath.Join(dir, "log")}, "--interface", "eth0")
	if r.code != 1 || strings.Count(r.errors, "\n") != 1 || !strings.Contains(r.errors, "/dev/null") {
		t.Errorf("%+v", r)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log", "tuplenet.log"))
	if err != nil || !strings.Contains(string(log), "level=ERROR") || !strings.Contains(string(log), "/dev/null") {
		t.Errorf("log %q, %v", log, err)
	}
}

func TestT66_TheRunFolderHoldsThePidWhileTheDaemonWaitsForOpenVSwitch(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	env := map[string]string{"TUPLENET_RUNDIR": dir, "TUPLENET_OVSDB_PATH": filepath.Join(dir, "none.sock"), "TUPLENET_CONFIG": os.DevNull}
	var out bytes.Buffer
	var errs shared
	go func() {
		ended <- run(ctx, []string{"--ip", "192.0.2.1", "--host", "127.0.0.1:1"}, func(n string) string { return env[n] }, &out, &errs)
	}()
	name := filepath.Join(dir, "tuplenet.pid")
	until(t, "the pid file", func() bool {
		b, _ := os.ReadFile(name)
		return string(b) == fmt.Sprintln(os.Getpid())
	})
	until(t, "word of what it waits for", func() bool { return strings.Contains(errs.String(), "none.sock") })
	if r := start(t, env, "--ip", "192.0.2.1"); r.code != 1 || !strings.Contains(r.errors, fmt.Sprint(os.Getpid())) {
		t.Errorf("a second daemon: %+v", r)
	}
	stop()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("it ended with %d: %s", code, errs.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("the pid file stays: %v", err)
	}
}

// shared is a buffer that is read while it is written.
type shared struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestSIGHUPIsNotDeadly(t *testing.T) {
	said := make(chan string, 1)
	stop := ignoreHangup(slog.New(slog.NewTextHandler(lines(said), nil)))
	defer stop()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-said:
		if !strings.Contains(line, "SIGHUP") {
			t.Errorf("it says %s", line)
		}
	case <-time.After(time.Minute):
		t.Error("nothing is said")
	}
}

// lines hands on what is written.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func TestT66_TheLogIsTextOrJSONOfTheWantedLevel(t *testing.T) {
	for format, want := range map[string]string{"text": "level=WARN msg=seen", "json": `"level":"WARN","msg":"seen"`} {
		var out bytes.Buffer
		log, done, err := logger(controller.Config{LogFormat: format, LogLevel: "warn"}, &out)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("unseen")
		log.Warn("seen")
		done()
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "unseen") {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !condition() {
		select {
		case <-again.C:
		case <-limit.C:
			t.Fatalf("no %s within a minute", what)
		}
	}
}
