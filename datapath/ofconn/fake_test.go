package ofconn

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tuplenet/flows/of"
)

// fakeSwitch answers each message of a connection by answer; the hello is its own.
type fakeSwitch struct {
	t      *testing.T
	socket string
}

const patience = 60 * time.Second

// listen runs a fake switch for the time of the test. answer returns what to send back.
func listen(t *testing.T, hello []byte, answer func(m []byte) []byte) *fakeSwitch {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	dir, err := os.MkdirTemp("", "ofc") // the test's own directory would be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSwitch{t: t, socket: filepath.Join(dir, "s")}
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c, hello, answer)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
		os.RemoveAll(dir)
	})
	return f
}

func serve(c net.Conn, hello []byte, answer func(m []byte) []byte) {
	defer c.Close()
	r := bufio.NewReader(c)
	if _, err := c.Write(hello); err != nil {
		return
	}
	for {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		if b := answer(m); b != nil {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
}

// connect runs a session with the fake switch for the time of the test.
func (f *fakeSwitch) connect(cfg Config) *Session {
	f.t.Helper()
	cfg.Socket = f.socket
	ups := make(chan *Session, 16)
	cfg.OnUp = func(_ context.Context, s *Session) { ups <- s }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = Run(ctx, cfg)
	}()
	f.t.Cleanup(func() { cancel(); <-ended })
	select {
	case s := <-ups:
		return s
	case <-time.After(patience):
		f.t.Fatal("no session")
		return nil
	}
}

func hello15() []byte { return []byte{version, msgHello, 0, 8, 0, 0, 0, 1} }

// reply makes an answer to m of the same transaction.
func reply(m []byte, typ byte, body ...byte) []byte {
	b := append(message(typ), body...)
	seal(b, binary.BigEndian.Uint32(m[4:]))
	return b
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestASwitchOfAnotherVersionIsRefusedWithAHint(t *testing.T) {
	f := listen(t, []byte{4, msgHello, 0, 8, 0, 0, 0, 1}, func([]byte) []byte { return nil })
	_, err := dial(soon(t), Config{Socket: f.socket, Echo: patience})
	if err == nil || !strings.Contains(err.Error(), "OpenFlow15") {
		t.Errorf("error %v", err)
	}
}

func TestARefusedHelloIsReported(t *testing.T) {
	f := listen(t, []byte{version, msgError, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0}, func([]byte) []byte { return nil })
	_, err := dial(soon(t), Config{Socket: f.socket, Echo: patience})
	if err == nil || !strings.Contains(err.Error(), "type 0 code 0") {
		t.Errorf("error %v", err)
	}
}

func TestEchoRequestsOfTheSwitchAreAnswered(t *testing.T) {
	echoed := make(chan []byte, 1)
	f := listen(t, append(hello15(), version, msgEchoRequest, 0, 12, 0, 0, 0, 77, 1, 2, 3, 4), func(m []byte) []byte {
		if m[1] == msgEchoReply {
			echoed <- m
		}
		return nil
	})
	f.connect(Config{})
	select {
	case m := <-echoed:
		if string(m[4:]) != "\x00\x00\x00\x4d\x01\x02\x03\x04" {
			t.Errorf("answer %x", m)
		}
	case <-time.After(patience):
		t.Error("no answer")
	}
}

func TestPartsOfADumpAreCollectedUntilTheLast(t *testing.T) {
	parts := 0
	f := listen(t, hello15(), func(m []byte) []byte {
		if m[1] != 18 {
			return nil
		}
		var all []byte
		for i := range byte(3) {
			flags := byte(1)
			if i == 2 {
				flags = 0
			}
			part := reply(m, msgMultipartReply, 0, 10, 0, flags, 0, 0, 0, 0, // meter configuration
				0, 24, 0, 2, 0, 0, 0, i, 0, 1, 0, 16, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0)
			all = append(all, part...)
			parts++
		}
		return all
	})
	have, err := f.connect(Config{}).DumpMeters(soon(t))
	if err != nil || len(have) != 3 || have[2] != (of.Meter{ID: 2, RatePPS: 9, Burst: 8}) {
		t.Errorf("meters %+v, error %v", have, err)
	}
}

func TestATruncatedAnswerIsAnErrorAndNotAPanic(t *testing.T) {
	f := listen(t, hello15(), func(m []byte) []byte {
		if m[1] != 18 {
			return nil
		}
		return reply(m, msgMultipartReply, m[8], m[9], 0, 0, 0, 0, 0, 0, 0, 200, 0, 0)
	})
	s := f.connect(Config{})
	if err := s.DumpFlows(soon(t), func(FlowDesc) {}); !errors.Is(err, errShort) {
		t.Errorf("flows: %v", err)
	}
	if _, err := s.DumpGroups(soon(t)); !errors.Is(err, errShort) {
		t.Errorf("groups: %v", err)
	}
}

// fakeBundle refuses the messages at the given positions with OFPBAC_BAD_OUT_PORT and records what is committed.
type fakeBundle struct {
	refuse            map[int]bool
	next              int
	commits, discards chan struct{}
}

func (f *fakeBundle) answer(m []byte) []byte {
	switch m[1] {
	case msgBundleAdd:
		f.next++
		if f.refuse[f.next-1] {
			return reply(m, msgError, 0, 2, 0, 4, 1, 2, 3, 4)
		}
	case 20: // barrier request
		return reply(m, 21)
	case 33: // bundle control
		switch m[13] {
		case bundleCommit:
			f.commits <- struct{}{}
		case bundleDiscard:
			f.discards <- struct{}{}
		}
		m[13]++
		return m
	}
	return nil
}

func TestABundleWithARefusedMessageIsDiscardedAndNeverCommitted(t *testing.T) {
	b := &fakeBundle{refuse: map[int]bool{3: true, 5: true}, commits: make(chan struct{}, 9), discards: make(chan struct{}, 9)}
	s := listen(t, hello15(), b.answer).connect(Config{})
	mods := make([]Mod, 8)
	for i := range mods {
		mods[i] = DeleteGroup{ID: uint32(i)}
	}
	err := s.Bundle(soon(t), mods)
	var be *BundleError
	if !errors.As(err, &be) || len(be.Failed) != 2 || be.Failed[3] == nil || be.Failed[5] == nil {
		t.Fatalf("error %v", err)
	}
	if text := err.Error(); text != "bundle refused: 2 messages failed, the first is number 3: OFPBAC_BAD_OUT_PORT (type 2 code 4)" {
		t.Errorf("error %q", text)
	}
	select {
	case <-b.discards:
	case <-time.After(patience):
		t.Error("not discarded")
	}
	if len(b.commits) != 0 {
		t.Error("committed")
	}
	if err := s.Bundle(soon(t), mods[:2]); err != nil || len(b.commits) != 1 {
		t.Errorf("the next bundle: %v, commits %d", err, len(b.commits))
	}
}

func TestALostConnectionEndsWhatWaits(t *testing.T) {
	var c net.Conn
	dir, err := os.MkdirTemp("", "ofc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if c, err = l.Accept(); err == nil {
			_, _ = c.Write(hello15())
		}
	}()
	s := (&fakeSwitch{t: t, socket: l.Addr().String()}).connect(Config{})
	<-accepted
	ended := make(chan error, 1)
	go func() { ended <- s.Barrier(context.Background()) }()
	_ = l.Close() // no second connection
	c.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Error("the barrier hangs")
	}
}
