package cnm

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultSocket is where the engine looks for a plugin that is called tuplenet.
const DefaultSocket = "/run/docker/plugins/tuplenet.sock"

// ErrServed says that another process serves the socket.
var ErrServed = errors.New("another tpcnm serves it")

// activated is the first descriptor that systemd hands over (sd_listen_fds(3)).
const activated = 3

// Listen opens the plugin's socket: the one that systemd has opened for us, if it has, or else path. Its folder is made, and a socket
// that a killed process has left behind is replaced; one that is served is ErrServed. The lock beside it is kept until
// the process ends.
func Listen(path string, getenv func(string) string) (net.Listener, error) {
	if getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		return inherited(getenv("LISTEN_FDS"))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("folder of the plugin's socket: %w", err)
	}
	if err := lock(path + ".lock"); err != nil {
		return nil, fmt.Errorf("plugin's socket %s: %w", path, err)
	}
	if c, err := net.Dial("unix", path); err == nil { // by somebody who does not know the lock
		_ = c.Close()
		return nil, fmt.Errorf("plugin's socket %s: %w", path, ErrServed)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("plugin's socket: %s is there and no socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("plugin's socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("plugin's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // whoever may call the plugin rules the network
		_ = l.Close()
		return nil, fmt.Errorf("plugin's socket: %w", err)
	}
	return l, nil
}

// dying is how long a process that was killed may keep its lock: its threads end one after the other.
const dying = time.Second

// lock takes an exclusive lock on a file for as long as the process lives.
func lock(path string) error {
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) // the descriptor stays open
	for begin := time.Now(); errors.Is(err, unix.EWOULDBLOCK) && time.Since(begin) < dying; {
		time.Sleep(dying / 50)
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errors.Join(ErrServed, unix.Close(fd))
	}
	return err
}

// inherited is the listener that was handed over.
func inherited(count string) (net.Listener, error) {
	if count != "1" {
		return nil, fmt.Errorf("LISTEN_FDS is %q: exactly one socket is expected", count)
	}
	f := os.NewFile(activated, "systemd's socket")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the socket handed over by systemd: %w", err)
	}
	if _, unix := l.(*net.UnixListener); !unix {
		return nil, errors.Join(fmt.Errorf("the socket handed over by systemd is that of %s: the engine asks by a Unix socket", l.Addr().Network()), l.Close())
	}
	return l, nil
}
