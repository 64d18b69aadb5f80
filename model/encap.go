package model

import "slices"

// Encap is a tunnel encapsulation.
type Encap string

// Encapsulations.
const (
	EncapGeneve Encap = "geneve" // RFC 8926; with an option of ours for port keys and flags
	EncapVXLAN  Encap = "vxlan"  // RFC 7348; carries the VNI and nothing else
)

// WatchEncap is the encapsulation by which two chassis that offer these watch each other (BFD). Both ends of a session have to
// take the same, whatever data takes: Geneve, unless only VXLAN is offered by both.
func WatchEncap(a, b []Encap) Encap {
	common := func(e Encap) bool { return slices.Contains(a, e) && slices.Contains(b, e) }
	if common(EncapVXLAN) && !common(EncapGeneve) {
		return EncapVXLAN
	}
	return EncapGeneve
}
