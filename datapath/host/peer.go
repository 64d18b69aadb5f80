package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Peer is the other end of a veth pair.
type Peer struct {
	Name string
	MTU  int
	// TxOffload: the kernel leaves the checksums of what is sent there to the device (see DisableTxOffload).
	TxOffload bool
}

// ErrNoPeer says that a device is no veth, or that its other end is in a namespace that is not found.
var ErrNoPeer = errors.New("the other end is not found")

// namespaces are where the namespaces of containers and virtual machines are found: by name, and through their processes.
var namespaces = []string{"/run/netns/*", "/run/docker/netns/*", "/proc/[0-9]*/ns/net"}

// PeerOf looks at the other end of a veth, wherever it is. Errors: ErrNoDevice, ErrNoPeer.
func PeerOf(device string) (Peer, error) {
	link, err := linkNamed(device)
	if err != nil {
		return Peer{}, err
	}
	if link.Type() != "veth" || link.Attrs().ParentIndex == 0 {
		return Peer{}, fmt.Errorf("%s: %w", device, ErrNoPeer)
	}
	index := link.Attrs().ParentIndex
	if link.Attrs().NetNsID < 0 {
		return peerHere(index)
	}
	ns, err := namespaceOf(link.Attrs().NetNsID)
	if err != nil {
		return Peer{}, fmt.Errorf("%s: %w", device, err)
	}
	defer ns.Close()
	return peerIn(ns, index)
}

// namespaceOf finds a namespace by the number that this one gives it.
func namespaceOf(id int) (netns.NsHandle, error) {
	seen := map[uint64]bool{}
	for _, pattern := range namespaces {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return netns.None(), err
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				continue // its process has ended
			}
			st, ok := info.Sys().(*syscall.Stat_t)
			if !ok || seen[st.Ino] {
				continue
			}
			seen[st.Ino] = true
			ns, err := netns.GetFromPath(path)
			if err != nil {
				continue
			}
			if got, err := netlink.GetNetNsIdByFd(int(ns)); err == nil && got == id {
				return ns, nil
			}
			ns.Close()
		}
	}
	return netns.None(), ErrNoPeer
}

// peerIn looks at a device in another namespace, on a thread that is given up if it does not come back from there.
func peerIn(ns netns.NsHandle, index int) (p Peer, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var home netns.NsHandle
		if home, err = netns.Get(); err != nil {
			return
		}
		defer home.Close()
		if err = netns.Set(ns); err != nil {
			return
		}
		p, err = peerHere(index)
		if netns.Set(home) == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
	}()
	<-done
	return p, err
}

// peerHere looks at a device in the namespace of the calling thread.
func peerHere(index int) (Peer, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return Peer{}, fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByIndex(index)
	if err != nil {
		return Peer{}, fmt.Errorf("device %d: %w", index, err)
	}
	on, err := txOffload(link.Attrs().Name)
	return Peer{Name: link.Attrs().Name, MTU: link.Attrs().MTU, TxOffload: on}, err
}

// txOffload asks for the flag that DisableTxOffload turns off.
func txOffload(device string) (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("opening a socket for ethtool: %w", err)
	}
	defer unix.Close(fd)
	value := &ethtoolValue{cmd: unix.ETHTOOL_GTXCSUM}
	var req ifreqData
	copy(req.name[:], device)
	req.data = unsafe.Pointer(value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(value)
	if errno != 0 {
		return false, fmt.Errorf("reading the transmit offload of %s: %w", device, errno)
	}
	return value.data != 0, nil
}
