package pipeline

import "tuplenet/flows/of"

// On demand a packet that finds no flow for its destination is shown to the daemon, which makes the flows and sends the packet
// on, marked, from the table where it missed. What misses is told by the field Missed.
const (
	MissedAnswer    = 1 // nobody answers an ARP or ND question; goes on in Responder
	MissedPort      = 2 // no port has the MAC; goes on in L2Lookup
	MissedNeighbour = 3 // no MAC for the next hop; goes on in Neighbour
)

// MissedIn is the table in which a packet that missed goes on.
func MissedIn(missed uint64) (t Table, ok bool) {
	switch missed {
	case MissedAnswer:
		return Responder, true
	case MissedPort:
		return L2Lookup, true
	case MissedNeighbour:
		return Neighbour, true
	}
	return Table{}, false
}

// The meters of packets that miss: one for those that no workload here sent, and portMeters that the ports here share
// by their OpenFlow numbers: each has its own as long as there are not more.
const (
	meterMiss  = 1000
	portMeters = 128
)

// MissMeters are the meters that a switch needs besides if its node works on demand. A port may touch some 1,000 new
// destinations at once, and 500 a second after that.
func MissMeters() (all []of.Meter) {
	for i := range uint32(1 + portMeters) {
		all = append(all, of.Meter{ID: meterMiss + i, RatePPS: 500, Burst: 1000})
	}
	return all
}

// MissesLimited is how many packets the meters of packets that miss dropped, of what each meter did.
func MissesLimited(drops map[uint32]uint64) (sum uint64) {
	for id, n := range drops {
		if id >= meterMiss && id <= meterMiss+portMeters {
			sum += n
		}
	}
	return sum
}

// AskDaemon is the metered action that shows the daemon a packet that missed, of a workload behind an OpenFlow port, or
// of another chassis for 0.
func AskDaemon(ofport uint32) of.Action {
	meter := uint32(meterMiss)
	if ofport != 0 {
		meter += 1 + ofport%portMeters
	}
	return of.Controller{MaxLen: 0xffff, Userdata: []byte{byte(PuntMiss)}, MeterID: meter, Reason: of.ReasonAction}
}
