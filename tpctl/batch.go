package tpctl

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tuplenet/model"
	"tuplenet/model/store"
)

// batchCommand is batch: many commands in one process.
func (a *app) batchCommand() *cobra.Command {
	var file string
	var from int
	var keepGoing bool
	c := a.command(verb{
		use: "batch -f FILE", short: "Carry out many commands, one a line",
		long: `Carry out the commands in FILE ("-": standard input), one a line, without the word tpctl in front or with it. Empty
lines and what follows a # count for nothing. The options that every command takes are given to batch and hold for all lines;
with --wait it waits once, at the end. A line "wait" or "wait TIME" (default 30s) waits there until the nodes applied what
was written since the one before it. Questions are not asked: lines that delete recursively need --yes.

The outcome is that of the lines one after the other. What only adds things is sent together and ahead, though, so
that thousands of ports take seconds. At the first error batch stops and says with which --from it goes on once the
line is corrected; what was sent ahead of that line is taken back. With --keep-going it tells each error and goes on.`,
		min: 0, max: 0, wrong: "require -f FILE and no argument",
		run: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("require -f FILE, - is the standard input")
			}
			in, size, err := openBatch(file, a.env.Stdin)
			if err != nil {
				return err
			}
			defer in.Close()
			return a.batch(cmd.Context(), in, size, from, keepGoing)
		},
	})
	c.Flags().StringVarP(&file, "file", "f", "", "`file` with the commands, - is the standard input")
	c.Flags().IntVar(&from, "from", 1, "begin with line `N`")
	c.Flags().BoolVar(&keepGoing, "keep-going", false, "go on after a line that fails")
	return c
}

// openBatch opens the file and tells its size, 0 if that is not known.
func openBatch(file string, stdin io.Reader) (io.ReadCloser, int64, error) {
	if file == "-" {
		return io.NopCloser(stdin), 0, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return f, 0, nil
	}
	return f, info.Size(), nil
}

// action is a command line that was parsed and not carried out.
type action struct {
	number int // of the line
	text   string
	// Exactly one of do, find and wait is set. adds: the line does nothing but add these objects.
	do   func(ctx context.Context, st *store.Store, opts ...store.Option) (change, error)
	find func(ctx context.Context, st *store.Store) (listing, error)
	wait time.Duration
	adds []model.Object

	recursive bool
}

// batchNouns are those whose commands may be lines of a batch: they do nothing but read and write the store.
var batchNouns = []string{"ls", "lsp", "lr", "lrp", "lsr", "lnat", "patchport", "edge", "ch", "pool", "subnet"}

// lineParser turns lines into actions: it runs a command tree whose commands hand over what they would do.
type lineParser struct {
	env   Env
	app   *app
	root  *cobra.Command
	found map[[2]string]*cobra.Command // by the words that lead to them
	got   *action
}

// parse returns nil for a line without a command.
func (p *lineParser) parse(ctx context.Context, number int, line string) (*action, error) {
	args := words(line)
	if len(args) > 0 && args[0] == "tpctl" {
		args = args[1:]
	}
	if len(args) == 0 {
		return nil, nil
	}
	if strings.ContainsAny(strings.Join(args, ""), `"'\`) {
		return nil, usagef(`quotes and \ are not understood, no argument needs them`)
	}
	if args[0] == "wait" {
		limit, err := waitLine(args[1:])
		if err != nil {
			return nil, err
		}
		return &action{number: number, text: line, wait: limit}, nil
	}
	if !slices.Contains(batchNouns, args[0]) {
		return nil, usagef("%q cannot be a line of a batch", args[0])
	}
	if p.root == nil {
		p.app = &app{env: p.env, capture: func(a action) { p.got = &a }}
		p.root, p.found = newRoot(p.app), map[[2]string]*cobra.Command{}
	}
	p.got = nil
	cmd, args, err := p.command(args)
	if err != nil {
		return nil, usagef("unknown command %q", strings.Join(words(line), " "))
	}
	if slices.ContainsFunc(args, isOption) {
		args, err = p.options(cmd, args)
	}
	if err == nil {
		err = cmd.ValidateArgs(args)
	}
	if err == nil {
		cmd.SetContext(ctx)
		err = cmd.RunE(cmd, args)
	}
	if cmd.Flags().NFlag() > 0 {
		p.root = nil // the options keep their values
	}
	if err == nil && p.got == nil {
		err = usagef("%q cannot be a line of a batch", strings.TrimPrefix(cmd.CommandPath(), "tpctl "))
	}
	if err != nil {
		return nil, err
	}
	p.got.number, p.got.text = number, line
	return p.got, nil
}

// command finds the command that a line begins with, and what follows it.
func (p *lineParser) command(args []string) (*cobra.Command, []string, error) {
	var verb [2]string
	if copy(verb[:], args) == 2 && p.found[verb] != nil {
		return p.found[verb], args[2:], nil
	}
	cmd, rest, err := p.root.Find(args)
	if err == nil && cmd.HasSubCommands() {
		err = errors.New("it needs another word")
	}
	if err == nil && len(args) > 1 && !slices.ContainsFunc(verb[:], isOption) && slices.Equal(rest, args[2:]) {
		p.found[verb] = cmd
	}
	return cmd, rest, err
}

func isOption(word string) bool { return strings.HasPrefix(word, "-") }

// options sets the options of a command and returns the arguments without them.
func (p *lineParser) options(cmd *cobra.Command, args []string) ([]string, error) {
	if err := cmd.ParseFlags(args); err != nil {
		return nil, usageError{err}
	}
	global := false
	p.app.flags.VisitAll(func(f *pflag.Flag) { global = global || f.Changed })
	if global {
		return nil, usagef("options that every command takes are given to batch itself")
	}
	return cmd.Flags().Args(), nil
}

// waitLine is how long a line that waits does so at most.
func waitLine(args []string) (time.Duration, error) {
	if len(args) > 1 {
		return 0, usagef("wait: require at most a time")
	}
	limit, err := time.ParseDuration(append(args, defaultWait)[0])
	if err != nil || limit <= 0 {
		return 0, usagef("wait %s: require a time such as %s", args[0], defaultWait)
	}
	return limit, nil
}

// words cuts a line at blanks and drops the comment.
func words(line string) []string {
	all := strings.Fields(line)
	if i := slices.IndexFunc(all, func(w string) bool { return strings.HasPrefix(w, "#") }); i >= 0 {
		all = all[:i]
	}
	return all
}

// batchSummary is the answer of batch in the structured formats.
type batchSummary struct {
	Done         int          `json:"done"`
	Failed       []batchError `json:"failed,omitempty"`
	Transactions int          `json:"transactions"`
	Seconds      float64      `json:"seconds"`
	Revision     int64        `json:"revision,omitempty"`
	Receipt      *receiptView `json:"receipt,omitempty"`
}

type batchError struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// batch carries out the lines of in.
func (a *app) batch(ctx context.Context, in io.Reader, size int64, from int, keepGoing bool) error {
	set, err := resolveSettings(a.flags, a.env)
	if err != nil {
		return err
	}
	st, err := open(set)
	if err != nil {
		return err
	}
	defer st.Close()
	var wait *wait
	if set.Wait > 0 {
		if wait, err = beginWait(ctx, st, set.Wait); err != nil {
			return err
		}
	}
	r := newBatchRun(a, st, set, keepGoing)
	defer r.close()
	begun := time.Now()
	bar := newProgressBar(a.env.Stderr, size, begun)
	failed := a.feed(ctx, r, in, from, bar)
	bar.end()
	summary := batchSummary{Done: r.done, Failed: r.errors, Transactions: r.transactions, Seconds: time.Since(begun).Seconds(), Revision: r.revision}
	if failed == nil && wait != nil {
		wait.differ = r.madeAtAll.differ()
		summary.Receipt, failed = markEnd(ctx, st, wait, summary.Revision)
	}
	if set.Output.structured() {
		if err := writeDocument(a.env.Stdout, set.Output, summary); err != nil {
			return err
		}
		return failed
	}
	fmt.Fprintf(a.env.Stdout, "%d lines done in %.1f s, %d transactions\n", summary.Done, summary.Seconds, summary.Transactions)
	if summary.Receipt != nil && failed == nil {
		fmt.Fprintln(a.env.Stdout, summary.Receipt.text)
	}
	return failed
}

// markEnd makes a wait end with what was written up to a revision; 0: with everything.
func markEnd(ctx context.Context, st *store.Store, w *wait, written int64) (*receiptView, error) {
	revision, err := st.Mark(ctx, store.WithWaiter(w.id), store.Between(w.since, written))
	if err != nil {
		return nil, err
	}
	return w.end(ctx, st, cmp.Or(written, revision))
}

// feed reads, parses and carries out the lines. What waits for company is sent when no further line is there yet.
func (a *app) feed(ctx context.Context, r *batchRun, in io.Reader, from int, bar *progressBar) error {
	lines, stop := readLines(in)
	defer stop()
	parser := lineParser{env: a.env}
	tick, stopTicks := bar.ticks()
	defer stopTicks()
	read, last := int64(0), 0
	for {
		var l inputLine
		ok := true
		select {
		case l, ok = <-lines:
		default:
			select {
			case l, ok = <-lines:
			case <-r.patience():
				if err := r.flush(ctx); err != nil {
					return r.stopped(ctx, err)
				}
				continue
			case g := <-r.results:
				if err := r.settle(ctx, g); err != nil {
					return r.stopped(ctx, err)
				}
				continue
			case <-tick:
				bar.show(read, r.done)
				continue
			case <-ctx.Done():
				return r.stopped(ctx, &lineError{last + 1, context.Cause(ctx)})
			}
		}
		if !ok {
			return r.finish(ctx)
		}
		read, last = read+int64(len(l.text))+1, l.number
		err := l.err
		if err == nil && l.number >= from {
			err = r.line(ctx, &parser, l)
		}
		if err == nil && ctx.Err() != nil {
			err = &lineError{last + 1, context.Cause(ctx)}
		}
		if err != nil {
			return r.stopped(ctx, err)
		}
		select {
		case <-tick:
			bar.show(read, r.done)
		default:
		}
	}
}

// flushAfter is how long lines wait for others to be sent with.
const flushAfter = 5 * time.Millisecond

// patience ends when lines need not wait for company any longer, which they do while others are under way.
func (r *batchRun) patience() <-chan time.Time {
	switch {
	case r.next == nil:
		return nil
	case len(r.flying) == 0:
		return time.After(0)
	}
	return time.After(flushAfter)
}

// inputLine is a line of the input, or the error that ended it.
type inputLine struct {
	number int
	text   string
	waits  bool // the next line is there and waits
	err    error
}

// longestLine bounds a line of a batch, bytes.
const longestLine = 1 << 20

// readLines reads ahead; stop makes it end.
func readLines(in io.Reader) (<-chan inputLine, func()) {
	out, done := make(chan inputLine, 1024), make(chan struct{})
	go func() {
		defer close(out)
		b := bufio.NewReaderSize(in, 64<<10)
		n := 0
		give := func(l inputLine) bool {
			select {
			case out <- l:
				return true
			case <-done:
				return false
			}
		}
		for {
			text, err := readLine(b)
			if err == io.EOF {
				return
			}
			n++
			if err != nil {
				give(inputLine{number: n, err: &lineError{n, err}})
				return
			}
			if !give(inputLine{number: n, text: text, waits: waitIsNext(b)}) {
				return
			}
		}
	}()
	return out, func() { close(done) }
}

// readLine reads a line without its end; io.EOF: there is none.
func readLine(b *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := b.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > longestLine:
			return "", bufio.ErrTooLong
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0, err == nil:
			return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
		}
		return "", err
	}
}

// waitIsNext tells whether the next line is read already and waits.
func waitIsNext(b *bufio.Reader) bool {
	ahead, _ := b.Peek(b.Buffered())
	line, _, whole := bytes.Cut(ahead, []byte("\n"))
	if !whole {
		return false
	}
	next := words(string(line))
	if len(next) > 0 && next[0] == "tpctl" {
		next = next[1:]
	}
	return len(next) > 0 && next[0] == "wait"
}

// lineError is an error of one line.
type lineError struct {
	number int
	err    error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.number, oneLine(e.err)) }
func (e *lineError) Unwrap() error { return e.err }

// hopeless tells whether the lines that follow would fail in the same way.
func hopeless(err error) bool {
	return errors.Is(err, store.ErrUnreachable) || errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrNewerSchema) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
