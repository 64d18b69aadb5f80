package tpctl

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// confirm asks before everything below a device is deleted, and returns errCanceled unless the answer is yes. An
// answer may be piped in; no answer (end of file, as without a terminal) is a no, so nothing ever hangs in a script.
func (a *app) confirm(ctx context.Context, s settings) error {
	if s.Yes {
		return nil
	}
	out := a.env.Stdout
	if s.Output.structured() {
		out = a.env.Stderr
	}
	fmt.Fprintln(out, "all data under this device will be deleted")
	fmt.Fprint(out, "confirm? [yes/no] ")
	answer := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(a.env.Stdin).ReadString('\n')
		if err != nil && err != io.EOF {
			line = ""
		}
		answer <- strings.TrimSpace(line)
	}()
	select {
	case text := <-answer:
		if text == "yes" || text == "y" {
			return nil
		}
	case <-ctx.Done(): // interrupted at the question; the reader ends with the process
	}
	return errCanceled
}
