package tpctl

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// progressBar tells on a terminal how far a batch is. Elsewhere it says nothing.
type progressBar struct {
	out   io.Writer // nil: no terminal
	size  int64     // of the input, bytes; 0: not known
	begun time.Time
	width int // of what was written last
}

func newProgressBar(out io.Writer, size int64, begun time.Time) *progressBar {
	if f, ok := out.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return &progressBar{out: out, size: size, begun: begun}
		}
	}
	return &progressBar{}
}

// ticks are when it is time to show it: never, where nobody looks.
func (b *progressBar) ticks() (ticks <-chan time.Time, stop func()) {
	if b.out == nil {
		return nil, func() {}
	}
	t := time.NewTicker(100 * time.Millisecond)
	return t.C, t.Stop
}

// show draws the bar after so many bytes of input and lines done.
func (b *progressBar) show(read int64, done int) {
	if b.out != nil {
		b.draw(progressText(read, b.size, done, time.Since(b.begun)))
	}
}

func (b *progressBar) draw(text string) {
	fmt.Fprintf(b.out, "\r%s%s", text, strings.Repeat(" ", max(0, b.width-len(text))))
	b.width = len(text)
}

// progressText is the bar: [####......]  40 %  8000 lines, 3950 a second.
func progressText(read, size int64, done int, elapsed time.Duration) string {
	text := fmt.Sprintf("%d lines, %.0f a second", done, float64(done)/max(elapsed.Seconds(), 0.001))
	if size <= 0 {
		return text
	}
	const cells = 30
	part := min(1, float64(read)/float64(size))
	full := int(part * cells)
	return fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(".", cells-full), part*100, text)
}

// end removes the bar.
func (b *progressBar) end() {
	if b.out != nil && b.width > 0 {
		b.draw("")
		fmt.Fprint(b.out, "\r")
	}
}
