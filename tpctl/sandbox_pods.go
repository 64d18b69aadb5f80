package tpctl

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"tuplenet/e2e/lab"
)

// podsCommand is sandbox pods: many workloads at once.
func (s *sandbox) podsCommand() *cobra.Command {
	return noun("pods", "Many workloads at once, the same number on every host", s.podsCreateCommand(), s.podsDeleteCommand())
}

func (s *sandbox) podsCreateCommand() *cobra.Command {
	var c lab.PodsConfig
	var podIf string
	cmd := &cobra.Command{
		Use: "create [NUMBER]", Short: "Make NUMBER pods on every host", DisableAutoGenTag: true,
		Long: fmt.Sprintf(`Make NUMBER workloads on every host, on one switch called %s. NUMBER is otherwise that of the environment variable NPODS, or %d.
The third of the second host, bob, is called bob-ns03 and has the addresses 172.16.2.3 and 1000::1:172.16.2.3. Pods that are
there already stay as they are.

With --macvlan pods have no veths: they sit on one device of their host, behind a port without declared addresses, whose
MACs the network learns.`, lab.PodNetwork, lab.DefaultPods),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("require at most a number of pods")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			number := s.env.Getenv("NPODS")
			if len(args) > 0 {
				number = args[0]
			}
			var err error
			if c.PerHost, err = strconv.Atoi(cmp.Or(number, strconv.Itoa(lab.DefaultPods))); err != nil || c.PerHost < 1 {
				return usagef("invalid number of pods %q", number)
			}
			c.Interface = cmp.Or(podIf, s.env.Getenv("PODIF"), lab.PodIfEth0)
			if c.Interface != lab.PodIfEth0 && c.Interface != lab.PodIfHostname {
				return usagef("invalid name of interfaces %q, expected %s or %s", c.Interface, lab.PodIfEth0, lab.PodIfHostname)
			}
			l, err := s.open()
			if err != nil {
				return err
			}
			pods, err := l.CreatePods(cmd.Context(), c)
			if err != nil {
				return err
			}
			var lines []error
			for _, w := range pods {
				_, err := fmt.Fprintln(s.env.Stdout, w.Name)
				lines = append(lines, err)
			}
			return errors.Join(lines...)
		},
	}
	cmd.Flags().StringVar(&podIf, "pod-if", "", "how the interface in a pod is called: `eth0|hostname`, hostname being the pod's name (default: the environment variable PODIF, or eth0)")
	cmd.Flags().BoolVar(&c.Macvlan, "macvlan", false, "pods sit on a device of their host instead of having veths of their own")
	return cmd
}

func (s *sandbox) podsDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete", Aliases: []string{"del", "d"}, Short: "Remove all pods and their network", DisableAutoGenTag: true,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := s.open()
			if err != nil {
				return err
			}
			if err := l.DeletePods(cmd.Context()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.env.Stdout, "pods removed")
			return err
		},
	}
}
