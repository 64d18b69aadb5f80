package host

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ifreqData is struct ifreq of linux/if.h with the member ifr_data.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the union is larger than a pointer
}

// DisableTxOffload turns the transmit checksum offload of a device off, and with it all that depends on it (TSO), as
// "ethtool -K DEVICE tx off" does. A veth whose other end is on a netdev datapath needs it: the packets would reach the
// tunnel with checksums that nobody ever fills in, so that ping works and TCP moves nothing. The device is looked up in the
// namespace of the calling thread. ErrNoDevice.
func DisableTxOffload(device string) error {
	var req ifreqData
	if device == "" || len(device) >= len(req.name) {
		return fmt.Errorf("%w: %q", ErrNoDevice, device)
	}
	copy(req.name[:], device)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket for ethtool: %w", err)
	}
	defer unix.Close(fd)
	value := &ethtoolValue{cmd: unix.ETHTOOL_STXCSUM}
	req.data = unsafe.Pointer(value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(value)
	switch {
	case errno == 0:
		return nil
	case errors.Is(errno, unix.ENODEV):
		return fmt.Errorf("%w: %s", ErrNoDevice, device)
	}
	return fmt.Errorf("turning transmit offload of %s off: %w", device, errno)
}
