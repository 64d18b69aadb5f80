package controller

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dying is how long a process that has ended may keep its lock.
const dying = 2 * time.Second

// lockPidFile makes sure that one daemon uses a run folder, and says which. The lock goes with the process, however that ends;
// unlock removes the file as well.
func lockPidFile(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	name := filepath.Join(dir, "tuplenet.pid")
	f, err := openLocked(name)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("pid file: %w", err)
	}
	return func() { os.Remove(name); f.Close() }, nil
}

// openLocked opens the file and locks it. Another daemon may have removed it between the two: then the lock is on a file that
// nobody will find, and it is done again. A daemon that was killed keeps the lock until the last of its threads is gone, which
// may be a moment after a supervisor has seen it end: that is waited for.
func openLocked(name string) (*os.File, error) {
	for deadline := time.Now().Add(dying); ; {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("pid file: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			pid, _ := os.ReadFile(name)
			f.Close()
			if ended(strings.TrimSpace(string(pid))) && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			return nil, fmt.Errorf("another tuplenet (pid %s) runs with %s", strings.TrimSpace(string(pid)), name)
		}
		locked, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("pid file: %w", err)
		}
		if there, err := os.Stat(name); err == nil && os.SameFile(locked, there) {
			return f, nil
		}
		f.Close()
	}
}

// ended tells whether a process is no more, but perhaps for its burial (proc(5), the state in /proc/PID/stat).
func ended(pid string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return os.IsNotExist(err)
	}
	_, after, _ := strings.Cut(string(b), ") ") // behind the name, which may have anything in it
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}
