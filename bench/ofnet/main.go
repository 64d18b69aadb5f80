// Command ofnet fills a switch with flows by the library of that name, as a contestant of the benchmark of loading: the product does not use
// it, see docs/dependencies.md. It is a module of its own, so that nothing of it is in the product's.
//
//	ofnet SOCKET FILE
//
// FILE holds OpenFlow 1.5 flow-mods one after the other. They are decoded first; then the clock runs from connecting to the switch until it
// has acknowledged the transaction. The milliseconds are what is printed.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"antrea.io/libOpenflow/openflow15"
	"antrea.io/ofnet/ofctrl"
)

// app is told when the switch is there.
type app struct{ connected chan *ofctrl.OFSwitch }

func (a app) SwitchConnected(sw *ofctrl.OFSwitch)                       { a.connected <- sw }
func (app) SwitchDisconnected(*ofctrl.OFSwitch)                         {}
func (app) PacketRcvd(*ofctrl.OFSwitch, *ofctrl.PacketIn)               {}
func (app) MultipartReply(*ofctrl.OFSwitch, *openflow15.MultipartReply) {}
func (app) FlowGraphEnabledOnSwitch() bool                              { return false }
func (app) TLVMapEnabledOnSwitch() bool                                 { return false }
func (app) PortStatusRcvd(*openflow15.PortStatus)                       {}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: ofnet SOCKET FILE")
		os.Exit(2)
	}
	took, err := load(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "ofnet:", err)
		os.Exit(1)
	}
	fmt.Println(took.Milliseconds())
}

// octets are a part of a message that is ready to be sent. The library's decoder does not know all that the flows contain, so what it
// would have decoded, the values of matches and the instructions, goes through it as it is: it has less to do than in real use.
type octets []byte

func (o octets) Len() uint16                             { return uint16(len(o)) }
func (o octets) MarshalBinary() ([]byte, error)          { return o, nil }
func (o octets) UnmarshalBinary([]byte) error            { return errors.New("only sent") }
func (o octets) AddAction(openflow15.Action, bool) error { return errors.New("complete") }

// read decodes the flow-mods of a file.
func read(file string) (mods []*openflow15.FlowMod, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for len(b) >= 8 {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 56 || n > len(b) {
			return nil, fmt.Errorf("message of %d bytes, %d are left", n, len(b))
		}
		mods, b = append(mods, decode(b[:n:n])), b[n:]
	}
	return mods, nil
}

// decode takes a flow-mod (OpenFlow 1.5.1, section 7.3.4.2) apart as far as the library wants it.
func decode(b []byte) *openflow15.FlowMod {
	m := openflow15.NewFlowMod()
	m.Cookie, m.TableId, m.Command = binary.BigEndian.Uint64(b[8:]), b[24], b[25]
	m.Priority, m.Flags = binary.BigEndian.Uint16(b[30:]), binary.BigEndian.Uint16(b[44:])
	match := int(binary.BigEndian.Uint16(b[50:]))
	for f := b[52 : 48+match]; len(f) >= 4; f = f[4+int(f[3]):] {
		n := int(f[3])
		field := openflow15.MatchField{Class: binary.BigEndian.Uint16(f), Field: f[2] >> 1, HasMask: f[2]&1 == 1, Length: f[3], Value: octets(f[4 : 4+n])}
		if field.HasMask {
			field.Value, field.Mask = octets(f[4:4+n/2]), octets(f[4+n/2:4+n])
		}
		m.Match.AddField(field)
	}
	if instructions := b[48+(match+7)/8*8:]; len(instructions) > 0 {
		m.Instructions = append(m.Instructions, octets(instructions))
	}
	return m
}

func load(socket, file string) (time.Duration, error) {
	mods, err := read(file)
	if err != nil {
		return 0, err
	}
	a := app{make(chan *ofctrl.OFSwitch, 1)}
	c := ofctrl.NewController(a)
	begun := time.Now()
	go func() { _ = c.Connect(socket) }() // returns when the connection ends
	sw := <-a.connected
	tx := sw.NewTransaction(ofctrl.Atomic)
	if err := tx.Begin(); err != nil {
		return 0, fmt.Errorf("begin: %w", err)
	}
	for i, m := range mods {
		if err := tx.AddFlow(m); err != nil {
			return 0, fmt.Errorf("flow %d: %w", i, err)
		}
	}
	if n, err := tx.Complete(); err != nil || n != len(mods) {
		return 0, fmt.Errorf("%d of %d flows taken: %w", n, len(mods), err)
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return time.Since(begun), nil
}
