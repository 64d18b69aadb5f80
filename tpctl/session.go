package tpctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tuplenet/model"
	"tuplenet/model/store"
)

// app is one run of tpctl.
type app struct {
	env   Env
	flags *pflag.FlagSet // the options that every command takes
	// capture takes what a command would do, in place of its being done; nil: it is done.
	capture func(action)
}

// open makes the store's client; the store is contacted by the first request. Each request ends with the timeout of the
// settings; a command has no limit as a whole, since deleting a large switch takes many requests.
func open(s settings) (*store.Store, error) {
	return store.Open(store.Config{
		Endpoints: s.Endpoints, Prefix: s.Prefix,
		CACert: s.CACert, Cert: s.Cert, Key: s.Key,
		User: s.User, Password: s.Password,
		DialTimeout: s.Timeout,
	})
}

// show runs a command that reads: it prints what find returns.
func (a *app) show(cmd *cobra.Command, find func(ctx context.Context, st *store.Store) (listing, error)) error {
	if a.capture != nil {
		a.capture(action{find: find})
		return nil
	}
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	st, err := open(set)
	if err != nil {
		return err
	}
	defer st.Close()
	found, err := find(cmd.Context(), st)
	if err != nil {
		return err
	}
	for _, p := range found.broken {
		fmt.Fprintf(a.env.Stderr, "out of service: %s: %s\n", p.Key, p.Reason)
	}
	return found.write(a.env.Stdout, set.Output)
}

// change is what a command that writes did.
type change struct {
	text     string         // the sentence that tells it
	revision int64          // of the store, once it was done
	view     any            // the object that was made, for the structured formats; nil: none
	judge    []model.Object // all that was made, if some of it may be odd beside the rest, though it was allowed
	// unnumbered: it took no number, nor changed a switch or router, so what was looked up of those in advance holds.
	unnumbered bool
}

// changeAnswer is a change in the structured formats.
type changeAnswer struct {
	Message  string       `json:"message"`
	Revision int64        `json:"revision"`
	Object   any          `json:"object,omitempty"`
	Warnings []string     `json:"warnings,omitempty"`
	Receipt  *receiptView `json:"receipt,omitempty"`
}

// change runs a command that writes. With recursive set it asks first. With --wait it also waits until the nodes
// applied what was written; then, the write stands even if the wait fails.
func (a *app) change(cmd *cobra.Command, recursive bool, do func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error)) error {
	if a.capture != nil {
		a.capture(action{do: do, recursive: recursive})
		return nil
	}
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	if recursive {
		if err := a.confirm(cmd.Context(), set); err != nil {
			return err
		}
	}
	st, err := open(set)
	if err != nil {
		return err
	}
	defer st.Close()

	var opts []store.Option
	var wait *wait
	if set.Wait > 0 {
		if wait, err = beginWait(cmd.Context(), st, set.Wait); err != nil {
			return err
		}
		opts = append(opts, store.WithWaiter(wait.record(cmd.Context(), st).id))
	}
	done, err := do(cmd.Context(), st, opts...)
	if err != nil {
		return err
	}
	answer := changeAnswer{Message: done.text, Revision: done.revision, Object: done.view, Warnings: warnings(cmd.Context(), st, done.judge)}
	if !set.Output.structured() {
		fmt.Fprintln(a.env.Stdout, done.text)
		for _, text := range answer.Warnings {
			fmt.Fprintln(a.env.Stderr, "warning: "+text)
		}
	}
	if wait != nil {
		answer.Receipt, err = wait.end(cmd.Context(), st, done.revision)
		if answer.Receipt != nil && err == nil && !set.Output.structured() {
			fmt.Fprintln(a.env.Stdout, answer.Receipt.text)
		}
	}
	if set.Output.structured() {
		if failed := writeDocument(a.env.Stdout, set.Output, answer); failed != nil {
			return failed
		}
	}
	return err
}

// add runs a command that does nothing but store new objects, about which there is nothing to warn of.
func (a *app) add(cmd *cobra.Command, objects []model.Object, do func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error)) error {
	if a.capture != nil {
		a.capture(action{do: do, adds: objects})
		return nil
	}
	return a.change(cmd, false, do)
}

// warnings tells what is odd about objects that were made. They are made, so not being able to tell is no failure.
func warnings(ctx context.Context, st *store.Store, made []model.Object) []string {
	out, err := st.Warnings(ctx, made...)
	if err != nil {
		return []string{"not checked against the rest: " + oneLine(err)}
	}
	return out
}
