package tpctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
	"tuplenet/plugins/hooks"
)

// defaultHooks is where hooks are.
const defaultHooks = "/etc/tuplenet/hooks.d"

// watchOptions are the options of watch.
type watchOptions struct {
	revision int64
	count    int
	exec     string
	state    string
	attempts int
}

func (a *app) watchCommand() *cobra.Command {
	var o watchOptions
	c := a.command(verb{
		use: "watch [OBJECTS]", short: "Follow the changes of objects",
		long: `Print every change of an object as it happens, one a line: what happened, which object, the revisions at which it came into being
and at which this happened, how often it was changed, and the object itself; with -o json an object of JSON a line.

OBJECTS is what the names of the objects begin with, such as "switch" (a kind), "switchport/NET/" or "switch/NET"; without it, all
that operators write is followed. "binding" and "chassis" are what nodes write. --revision begins with an earlier change.

--exec runs a program for each change, or all programs of a directory (usually ` + defaultHooks + `), with what -o json prints
on stdin, and with TUPLENET_EVENT and TUPLENET_OBJECT in the environment. One that fails is run again after 1 s, 2 s, 4 s …, up to
--attempts times; the next change waits until then. "tpctl status" shows hooks that fail. With --state FILE the last
revision that is done with is kept in a file, and the next watch goes on behind it.`,
		min: 0, max: 1, wrong: "require at most one name",
		complete: completeAt(func(context.Context, *store.Store, []string) ([]string, error) {
			return namesOf(model.Kinds(), func(k model.Kind) string { return string(k) }), nil
		}),
		run: func(cmd *cobra.Command, args []string) error { return a.watch(cmd, argument(args, 0), o) },
	})
	f := c.Flags()
	f.Int64Var(&o.revision, "revision", 0, "begin with this `revision` (default: what follows)")
	f.IntVar(&o.count, "count", 0, "end after `N` changes (default: never)")
	f.StringVar(&o.exec, "exec", "", "run `program`, or all programs of this directory, for each change")
	f.IntVar(&o.attempts, "attempts", hooks.DefaultAttempts, "with --exec: run a program up to `N` times for one change")
	f.StringVar(&o.state, "state", "", "keep the last revision in `file` and go on behind it")
	return c
}

// eventView is a change as json.
type eventView struct {
	Type           store.EventType `json:"type"`
	Object         string          `json:"object"`
	CreateRevision int64           `json:"createRevision"`
	ModRevision    int64           `json:"modRevision"`
	Version        int64           `json:"version"`
	Value          json.RawMessage `json:"value,omitempty"`
}

func viewEvent(e store.Event) eventView {
	v := eventView{Type: e.Type, Object: e.Ref.String(), CreateRevision: e.CreateRevision, ModRevision: e.ModRevision, Version: e.Version}
	if json.Valid(e.Value) { // what was put there by hand may be no JSON
		v.Value = e.Value
	}
	return v
}

// errEnough ends a watch that has seen what it was to see.
var errEnough = errors.New("enough")

func (a *app) watch(cmd *cobra.Command, prefix string, o watchOptions) error {
	if o.revision < 0 || o.count < 0 || o.attempts < 1 {
		return usagef("--revision, --count and --attempts are not negative")
	}
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	if set.Output == formatYAML {
		return usagef("the changes are printed as plain or json")
	}
	if o.state != "" && o.revision == 0 {
		if o.revision, err = readState(o.state); err != nil {
			return err
		}
	}
	st, err := open(set)
	if err != nil {
		return err
	}
	defer st.Close()
	w := &watching{a: a, options: o, format: set.Output, store: st, failing: map[string]bool{}}
	if o.exec != "" {
		w.runner = &hooks.Runner{Path: o.exec, Attempts: o.attempts, Failed: w.failed, Succeeded: w.succeeded}
	}
	err = st.Events(cmd.Context(), prefix, o.revision, w.started, func(events []store.Event) error { return w.each(cmd.Context(), events) })
	if errors.Is(err, errEnough) || cmd.Context().Err() != nil { // interrupted, which is how most watches end
		return nil
	}
	return err
}

// watching is a watch under way.
type watching struct {
	a       *app
	options watchOptions
	format  format
	store   *store.Store
	runner  *hooks.Runner
	seen    int
	event   store.Event // that hooks run for

	mu      sync.Mutex
	failing map[string]bool // hooks of which there is a note
}

// started says that changes are not missed any more: scripts wait for it.
func (w *watching) started(rev int64) {
	if w.format != formatJSON && w.options.revision == 0 {
		fmt.Fprintf(w.a.env.Stderr, "watching from revision %d on\n", rev+1)
	}
}

func (w *watching) each(ctx context.Context, events []store.Event) error {
	for _, e := range events {
		text, err := json.Marshal(viewEvent(e))
		if err != nil {
			return fmt.Errorf("write %s as JSON: %w", e.Ref, err)
		}
		if w.runner != nil {
			w.event = e
			if err := w.runner.Run(ctx, hooks.Event{Type: string(e.Type), Object: e.Ref.String(), JSON: append(text, '\n')}); err != nil {
				return err
			}
		}
		if w.format == formatJSON {
			fmt.Fprintf(w.a.env.Stdout, "%s\n", text)
		} else {
			fmt.Fprintf(w.a.env.Stdout, "%d %s %s create=%d version=%d %s\n", e.ModRevision, e.Type, e.Ref, e.CreateRevision, e.Version, strings.TrimSpace(string(e.Value)))
		}
		w.seen++
	}
	if w.options.state != "" {
		if err := writeState(w.options.state, events[0].ModRevision); err != nil {
			return err
		}
	}
	if w.options.count > 0 && w.seen >= w.options.count {
		return errEnough
	}
	return nil
}

// note is the name under which the store keeps that a hook fails here.
func (w *watching) note(hook string) (name, host string) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + ":" + hook, host
}

// failed tells of a hook that failed: here, and in the store, for status.
func (w *watching) failed(f hooks.Failure) {
	reason := oneLine(f.Err)
	then := "in " + f.Again.String() + " again"
	if f.Again == 0 {
		then = "given up"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.a.env.Stderr, "hook %s failed for %s at revision %d, attempt %d, %s: %s\n", f.Hook, f.Event.Object, w.event.ModRevision, f.Attempt, then, reason)
	name, host := w.note(f.Hook)
	text, err := json.Marshal(model.HookFailure{Host: host, Hook: f.Hook, Object: f.Event.Object, Revision: w.event.ModRevision, Attempts: f.Attempt,
		GivenUp: f.Again == 0, Reason: reason})
	if err == nil {
		err = w.store.PutNote(context.Background(), model.HookNotes, name, text)
	}
	if err != nil {
		fmt.Fprintf(w.a.env.Stderr, "status will not show that: %s\n", oneLine(err))
	}
	w.failing[f.Hook] = true
}

// succeeded takes back what failed said, also what an earlier watch said.
func (w *watching) succeeded(hook string, _ hooks.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if fails, known := w.failing[hook]; known && !fails {
		return
	}
	name, _ := w.note(hook)
	if err := w.store.DeleteNote(context.Background(), model.HookNotes, name); err != nil {
		fmt.Fprintf(w.a.env.Stderr, "status may still show that hook %s fails: %s\n", hook, oneLine(err))
		return
	}
	w.failing[hook] = false
}

// readState reads the revision to begin with; 0 if there is no file.
func readState(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	rev, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || rev < 0 {
		return 0, fmt.Errorf("%s is not a file of a revision: remove it to begin with what follows", file)
	}
	return rev + 1, nil
}

// writeState keeps the revision that is done with; a crash leaves the old file or the new one.
func writeState(file string, rev int64) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".revision")
	if err != nil {
		return fmt.Errorf("keep the revision: %w", err)
	}
	_, err = fmt.Fprintln(f, rev)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep the revision: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// hookProblems are the hooks that fail, as problems for status.
func hookProblems(ctx context.Context, st *store.Store) ([]model.Problem, error) {
	notes, err := st.Notes(ctx, model.HookNotes)
	if err != nil {
		return nil, err
	}
	var out []model.Problem
	for name, text := range notes {
		var f model.HookFailure
		if err := json.Unmarshal(text, &f); err != nil {
			out = append(out, model.Problem{Key: "hook " + name, Reason: "its note is unreadable"})
			continue
		}
		state := fmt.Sprintf("attempt %d failed", f.Attempts)
		if f.GivenUp {
			state = fmt.Sprintf("given up after %d attempts", f.Attempts)
		}
		out = append(out, model.Problem{Key: "hook " + name, Reason: fmt.Sprintf("%s at revision %d: %s: %s", f.Object, f.Revision, state, f.Reason)})
	}
	return out, nil
}
