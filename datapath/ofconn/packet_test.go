package ofconn

import (
	"encoding/binary"
	"testing"

	"tuplenet/flows/of"
)

// packetIn2 is a packet-in with properties as OVS sends them.
func packetIn2(props ...[]byte) []byte {
	b := append(message(msgExperimenter), 0, 0, 0x23, 0x20, 0, 0, 0, 30)
	for _, p := range props {
		b = append(b, p...)
		b = zeros(b, pad8(len(p))-len(p))
	}
	seal(b, 0)
	return b
}

func prop(typ uint16, v ...byte) []byte {
	return append(u16(u16(nil, typ), uint16(4+len(v))), v...)
}

func example() []byte {
	metadata := []byte{0x80, 0, 0, 4, 0, 0, 0, 7 /* in_port */, 0x80, 0, 0x44, 4, 0, 0, 0, 9 /* mpls_label */, 0, 1, 0, 4, 0, 0, 0, 5 /* reg0 */}
	return packetIn2(prop(propPacket, make([]byte, 60)...), prop(propTable, 3), prop(propReason, of.ReasonAction),
		prop(propCookie, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8), prop(propMetadata, metadata...), prop(propUserdata, 1, 2, 3), prop(99, 1))
}

func TestPacketInIsReadByTheLengthsOfItsProperties(t *testing.T) {
	p, ok, err := decodePacketIn(example())
	if err != nil || !ok {
		t.Fatalf("%v %v", ok, err)
	}
	if len(p.Data) != 60 || p.Table != 3 || p.Reason != of.ReasonAction || p.Cookie != 0x0102030405060708 || string(p.Userdata) != "\x01\x02\x03" {
		t.Errorf("%+v", p)
	}
	if got := of.Match(p.Fields).String(); got != "in_port=7,reg0=0x5" {
		t.Errorf("fields %s: one that is not known must not hide the others", got)
	}
}

func TestPacketInThatIsBrokenIsAnError(t *testing.T) {
	long := example()
	binary.BigEndian.PutUint16(long[18:], 0xfff0)
	for what, b := range map[string][]byte{"property beyond the end": long, "no packet": packetIn2(prop(propTable, 3))} {
		if _, ok, err := decodePacketIn(b); ok || err == nil {
			t.Errorf("%s: %v %v", what, ok, err)
		}
	}
	if _, ok, err := decodePacketIn(message(77)); ok || err != nil {
		t.Errorf("another message: %v %v", ok, err)
	}
}

func FuzzDecodePacketIn(f *testing.F) {
	f.Add(example()[16:])
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok, err := decodePacketIn(append(packetIn2(), b...))
		if ok && (err != nil || p.Data == nil) {
			t.Errorf("%+v %v", p, err)
		}
		if err != nil && err.Error()[:9] != "packet-in" {
			t.Errorf("error %v", err)
		}
	})
}

// What the switch describes is decoded from its bytes; whatever they are, this must not panic.
func FuzzDecodeDescriptions(f *testing.F) {
	f.Add([]byte{0, 56, 0, 0, 3, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 16, 0x80, 2, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := append(make([]byte, 16), b...)
		_ = entries(r, func(e []byte) error {
			if len(e) < 32 {
				return errShort
			}
			return FlowDesc{}.rest(e[24:], func(d FlowDesc) { _, _ = d.Flow() })
		})
		_ = parseError(b)
	})
}
