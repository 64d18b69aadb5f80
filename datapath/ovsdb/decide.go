package ovsdb

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Datapath types of OVS that the daemon knows how to choose.
const (
	DatapathSystem = "system" // the openvswitch kernel module
	DatapathNetdev = "netdev" // userspace
)

// ChooseDatapath says which datapath type the integration bridge has or, if it has to be created, should get:
// an existing bridge keeps its own; else option, if set; else that of the OVS bridge whose local or internal port is
// tunnelDevice, the device that holds the tunnel address (userspace tunnelling finds its way out only on one and the
// same datapath); else "system" if the kernel has the openvswitch datapath, else "netdev".
func ChooseDatapath(f Facts, bridge, option, tunnelDevice string, kernelDatapath bool) string {
	if b, ok := f.Bridges[bridge]; ok {
		return b.DatapathType
	}
	if option != "" {
		return option
	}
	if i, ok := f.Interfaces[tunnelDevice]; ok && i.Type == "internal" {
		if b, ok := f.Bridges[i.Bridge]; ok {
			return b.DatapathType
		}
	}
	if kernelDatapath {
		return DatapathSystem
	}
	return DatapathNetdev
}

// The oldest Open vSwitch that has everything in the daemon's flows: 2.10.
const minMajor, minMinor = 2, 10

// ErrVersionUnknown is returned by CheckVersion when the database does not say the version: ovs-ctl writes it when it
// starts vswitchd, but somebody may start vswitchd without ovs-ctl. Worth a warning rather than a refusal.
var ErrVersionUnknown = errors.New("the database does not say the version of Open vSwitch (ovs-ctl start sets it)")

// CheckVersion returns nil if version (Facts.OVSVersion) is an Open vSwitch that the daemon can drive, else an error for
// the operator.
func CheckVersion(version string) error {
	if version == "" {
		return ErrVersionUnknown
	}
	parts := strings.SplitN(version, ".", 3)
	major, err := strconv.Atoi(parts[0])
	minor := 0
	if err == nil && len(parts) > 1 {
		minor, err = strconv.Atoi(parts[1])
	}
	if err != nil || len(parts) < 2 {
		return fmt.Errorf("version %q of Open vSwitch is not of the form 3.1.0", version)
	}
	if major < minMajor || major == minMajor && minor < minMinor {
		return fmt.Errorf("version %s of Open vSwitch is too old: %d.%d or newer is needed", version, minMajor, minMinor)
	}
	return nil
}
