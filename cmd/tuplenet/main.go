// Command tuplenet is the node daemon. It ends with code 0 after SIGTERM or SIGINT, with 1 when it cannot go on (the reason is
// the last line on standard error, and in the log), with 2 when its command line, environment or configuration file is wrong.
// SIGHUP changes nothing: the configuration is read at the start only, and the log file rotates by itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"gopkg.in/natefinch/lumberjack.v2"

	"tuplenet/controller"
)

// version is set by the build.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(memoryPercent)
	}
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// memoryPercent is how much garbage may gather, in percent of what is in use. The language's default of 100 doubles the memory of
// a daemon that does nothing most of the time; GOGC in the environment is obeyed.
const memoryPercent = 50

// Exit codes.
const (
	exitOK    = 0
	exitFail  = 1
	exitUsage = 2
)

// failure is an error of a daemon that was started as it should be.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// run does what the command line says and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	cmd := command(getenv, stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "tuplenet:", err)
	if errors.As(err, &failure{}) {
		return exitFail
	}
	return exitUsage
}

func command(getenv func(string) string, stderr io.Writer) *cobra.Command {
	cfg := controller.Config{Version: version}
	cmd := &cobra.Command{
		Use:           "tuplenet",
		Short:         "The tuplenet node daemon: virtual networks on this host's Open vSwitch",
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Complete(cmd.Flags(), getenv); err != nil {
				return err
			}
			log, closeLog, err := logger(cfg, stderr)
			if err != nil {
				return err
			}
			defer closeLog()
			defer ignoreHangup(log)()
			log.Info("starting", "version", version, "pid", os.Getpid())
			if err := controller.New(cfg, log).Run(cmd.Context()); err != nil {
				if cfg.LogDir != "" { // else it is said on standard error anyway
					log.Error("ending", "err", err)
				}
				return failure{err}
			}
			log.Info("stopped; the switch goes on as it is")
			return nil
		},
	}
	cmd.Flags().BoolP("version", "v", false, "print the version")
	cmd.SetVersionTemplate("tuplenet {{.Version}}\n")
	cfg.Flags(cmd.Flags())
	return cmd
}

// ignoreHangup keeps SIGHUP from ending the daemon, and says so in the log.
func ignoreHangup(log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-hangups:
				log.Info("SIGHUP ignored: restart the daemon to change its configuration, that disturbs no traffic")
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
	}
}

// logger writes where and how the configuration says. Files are rotated at 50 MB, five are kept.
func logger(cfg controller.Config, stderr io.Writer) (log *slog.Logger, closeLog func(), err error) {
	out, closeLog := stderr, func() {}
	if cfg.LogDir != "" {
		if err := os.MkdirAll(cfg.LogDir, 0o755); err != nil {
			return nil, nil, fmt.Errorf("log folder: %w", err)
		}
		file := &lumberjack.Logger{Filename: filepath.Join(cfg.LogDir, "tuplenet.log"), MaxSize: 50, MaxBackups: 5}
		out, closeLog = file, func() { file.Close() }
	}
	level, err := cfg.Level()
	if err != nil {
		return nil, nil, err
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, opts)), closeLog, nil
	}
	return slog.New(slog.NewTextHandler(out, opts)), closeLog, nil
}
