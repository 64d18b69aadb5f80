package lab

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onOwnThread runs f on an operating system thread of its own that ends afterwards, so that f may move it into other
// namespaces. The process' first thread is never taken: /proc/self shows its namespaces, and it cannot end.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			result <- onOwnThread(f) // the first thread stays occupied by this goroutine meanwhile
			runtime.UnlockOSThread()
			return
		}
		result <- f() // not unlocked: the thread ends with the goroutine
	}()
	return <-result
}

// enter moves the calling thread into the namespace that file path stands for.
func enter(path string, kind int) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), kind); err != nil {
		return fmt.Errorf("enter namespace %s: %w", path, err)
	}
	return nil
}
