package model

import (
	"fmt"
	"strconv"
	"strings"
)

// VNI is a 24-bit network identifier (RFC 8926 section 3.4, RFC 7348 section 5): 1 … MaxVNI. The ids of routers come
// from the same space. In JSON it is a decimal number.
type VNI uint32

// MaxVNI is the largest VNI.
const MaxVNI VNI = 0xffffff

// ParseVNI reads a VNI in decimal, or in hexadecimal after 0x.
func ParseVNI(text string) (VNI, error) {
	base, digits := 10, text
	if h, ok := strings.CutPrefix(strings.ToLower(text), "0x"); ok {
		base, digits = 16, h
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, fmt.Errorf("invalid VNI %q: not a number from 1 to %d (0x%x)", text, MaxVNI, uint32(MaxVNI))
	}
	if n == 0 || n > uint64(MaxVNI) {
		return 0, fmt.Errorf("invalid VNI %q: the limits are 1 and %d (0x%x)", text, MaxVNI, uint32(MaxVNI))
	}
	return VNI(n), nil
}

// String is the number in decimal.
func (v VNI) String() string { return strconv.FormatUint(uint64(v), 10) }

// Hex is the number in hexadecimal, such as 0xff01.
func (v VNI) Hex() string { return fmt.Sprintf("0x%x", uint32(v)) }

func (v VNI) validate(what string) error {
	if v == 0 || v > MaxVNI {
		return fmt.Errorf("invalid %s %d: the limits are 1 and %d (0x%x)", what, uint32(v), MaxVNI, uint32(MaxVNI))
	}
	return nil
}

// PortKey numbers a port within its switch or router: 1 … MaxPortKey. The numbers above are kept for the data plane
// (0xffff: all ports, flood).
type PortKey uint16

// MaxPortKey is the largest port key.
const MaxPortKey PortKey = 0xfeff

func (k PortKey) validate() error {
	if k == 0 || k > MaxPortKey {
		return fmt.Errorf("invalid port key %d: the limits are 1 and %d", uint16(k), uint16(MaxPortKey))
	}
	return nil
}
