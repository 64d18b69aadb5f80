package host

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// datapathFamily is the generic netlink family of the openvswitch kernel module (linux/openvswitch.h).
const datapathFamily = "ovs_datapath"

// KernelDatapath reports whether the kernel has the openvswitch datapath. Asking loads the module where it can be loaded
// on demand.
func KernelDatapath() (bool, error) {
	_, err := netlink.GenlFamilyGet(datapathFamily)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking the kernel for %s: %w", datapathFamily, err)
	}
	return true, nil
}
