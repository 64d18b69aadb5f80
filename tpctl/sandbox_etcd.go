package tpctl

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"tuplenet/e2e/lab"
	"tuplenet/model/store"
)

// etcdCommand runs the etcd server of a sandbox until it is told to end. The lab starts it, so the help hides it.
func (s *sandbox) etcdCommand() *cobra.Command {
	var data, listen string
	var noSync bool
	c := &cobra.Command{
		Use: "etcd", Short: "Run an etcd server of one member", Hidden: true, DisableAutoGenTag: true,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if data == "" {
				return usagef("require --data")
			}
			log := slog.New(slog.NewTextHandler(s.env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
			server, err := store.EmbeddedConfig{Dir: data, Listen: listen, UnsafeNoSync: noSync, Logger: log}.Start()
			if err != nil {
				return fmt.Errorf("start etcd: %w", err)
			}
			if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
				return errors.Join(fmt.Errorf("tell that etcd is ready: %w", err), server.Close())
			}
			<-cmd.Context().Done()
			return server.Close()
		},
	}
	c.Flags().StringVar(&data, "data", "", "`directory` of the data")
	c.Flags().StringVar(&listen, "listen", "http://127.0.0.1:2379", "client `URL`")
	c.Flags().BoolVar(&noSync, "no-sync", false, "do not wait for the disk: the data survive the end of the server, but not of the machine")
	return c
}

// serveCommand runs the servers of a station outside of the edges until it is told to end. The lab starts it, so the help hides it.
func (s *sandbox) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run a web and an echo server", Hidden: true, DisableAutoGenTag: true,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(s.env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
			return lab.Serve(cmd.Context(), log, func() error {
				_, err := daemon.SdNotify(false, daemon.SdNotifyReady)
				return err
			})
		},
	}
}
