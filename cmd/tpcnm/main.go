// Command tpcnm is Docker's network driver and address driver. It ends with code 0 after SIGTERM or SIGINT, with 1 when it cannot
// go on, with 2 when its command line or configuration is wrong; the reason is on standard error. `tpcnm gc` removes what
// containers have left behind that are gone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tuplenet/plugins/cnm"
)

// version is set by the build.
var version = "unknown"

// Exit codes.
const (
	exitOK    = 0
	exitFail  = 1
	exitUsage = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// command is what the command line says.
type command struct {
	collect bool
	config  string
	socket  string
	quiet   time.Duration
	level   slog.Level
}

// run does what the command line says and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	c, code, ok := parse(args, stdout, stderr)
	if !ok {
		return code
	}
	cfg, err := cnm.Load(c.config, getenv)
	if err != nil {
		fmt.Fprintf(stderr, "tpcnm: %v\nsuch as:\n%s", err, cnm.Example)
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: c.level}))
	d, err := cnm.New(cfg, log)
	if err != nil {
		fmt.Fprintln(stderr, "tpcnm: configuration:", err)
		return exitUsage
	}
	if c.collect {
		err = collect(ctx, d, c.quiet, stdout)
	} else {
		err = serve(ctx, d, c, getenv, log)
	}
	if err != nil {
		fmt.Fprintln(stderr, "tpcnm:", err)
		return exitFail
	}
	return exitOK
}

// parse reads the command line; ok is false if there is nothing to do, and code is what to end with then.
func parse(args []string, stdout, stderr io.Writer) (c command, code int, ok bool) {
	if len(args) > 0 && args[0] == "gc" {
		c.collect, args = true, args[1:]
	}
	set := flag.NewFlagSet("tpcnm", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&c.config, "config", "", "`FILE` of the configuration, JSON")
	set.StringVar(&c.socket, "socket", cnm.DefaultSocket, "`PATH` of the plugin's socket; its name is that of the driver")
	set.DurationVar(&c.quiet, "quiet", cnm.Quiet, "how long something must be garbage before it is removed")
	set.TextVar(&c.level, "log-level", slog.LevelInfo, "`LEVEL` of the log: debug, info, warn or error")
	shown := set.Bool("version", false, "print the version")
	set.Usage = func() {
		out := set.Output()
		fmt.Fprintln(out, "usage: tpcnm -config FILE        the network driver of Docker\n       tpcnm gc -config FILE     remove what containers have left behind that are gone")
		set.PrintDefaults()
		fmt.Fprintf(out, "a configuration:\n%s", cnm.Example)
	}
	for _, a := range args {
		if a == "-h" || a == "-help" || a == "--help" {
			set.SetOutput(stdout) // asked for, so no complaint
		}
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return c, exitOK, false
	case err != nil:
		return c, exitUsage, false
	case *shown:
		fmt.Fprintln(stdout, "tpcnm", version)
		return c, exitOK, false
	case set.NArg() > 0:
		fmt.Fprintf(stderr, "tpcnm: unexpected argument %q\n", set.Arg(0))
		set.Usage()
		return c, exitUsage, false
	}
	return c, exitOK, true
}

// collect removes garbage once and says what it was.
func collect(ctx context.Context, d *cnm.Driver, quiet time.Duration, stdout io.Writer) error {
	defer d.Close()
	removed, err := cnm.CollectOnce(ctx, d, quiet)
	for _, r := range removed {
		fmt.Fprintln(stdout, "removed", r)
	}
	return err
}

// serve answers the engine until ctx ends, and then finishes the calls under way.
func serve(ctx context.Context, d *cnm.Driver, c command, getenv func(string) string, log *slog.Logger) error {
	l, err := cnm.Listen(c.socket, getenv)
	if err != nil {
		return errors.Join(err, d.Close())
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Run(running, c.quiet)
	}()
	server := &http.Server{Handler: d.Handler(), ReadHeaderTimeout: cnm.Budget, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), cnm.Budget)
		defer cancel()
		stopped <- server.Shutdown(limit)
	})
	log.Info("serving", "version", version, "pid", os.Getpid(), "socket", l.Addr().(*net.UnixAddr).Name)
	err = server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		err = <-stopped
	}
	cancel()
	<-ended
	log.Info("stopped; containers go on as they are")
	return err
}
