package ofconn

import (
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A process that did not get to run finds that nothing was heard for long: what was said lies in the socket still.
func TestTimeInWhichWeDidNotRunIsNoSilenceOfTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, other := net.Pipe()
		defer other.Close()
		s := newSession(conn, slog.New(slog.DiscardHandler))
		const limit = 4 * time.Second
		ended := make(chan struct{})
		go func() { defer close(ended); s.keepAlive(limit, make(chan struct{}, 1)) }()
		over := func() bool {
			select {
			case <-s.done:
				return true
			default:
				return false
			}
		}
		time.Sleep(limit / 8) // between two ticks
		s.alive.last.Add(-int64(time.Hour))
		time.Sleep(limit / 2)
		if over() {
			t.Fatal("given up after two ticks")
		}
		s.alive.heard()
		time.Sleep(limit)
		if over() {
			t.Fatal("given up within the limit")
		}
		time.Sleep(limit / 2)
		if !over() {
			t.Error("a switch that says nothing is not given up")
		}
		s.fail(net.ErrClosed)
		<-ended
	})
}
