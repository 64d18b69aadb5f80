package ofconn

import "encoding/binary"

// Numbers of OpenFlow 1.5.1 (section 7.1) for what this package writes and reads itself.
const (
	version   = 6 // OpenFlow 1.5
	headerLen = 8

	msgHello          = 0
	msgError          = 1
	msgEchoRequest    = 2
	msgEchoReply      = 3
	msgExperimenter   = 4
	msgPacketOut      = 13
	msgFlowMod        = 14
	msgGroupMod       = 15
	msgMultipartReply = 19
	msgBundleAdd      = 34

	partMore = 1 // flag of a multipart reply that is not the last

	flowAdd          = 0
	flowDelete       = 3
	flowDeleteStrict = 4
	groupAdd         = 0
	groupModify      = 1
	groupDelete      = 2

	bundleOpen    = 0
	bundleCommit  = 4
	bundleDiscard = 6
	bundleFlags   = 3 // atomic and ordered

	noBuffer = 0xffffffff
	anyPort  = 0xffffffff
	anyGroup = 0xffffffff
)

func u16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func u32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func u64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// message starts a message; seal completes it.
func message(typ byte) []byte { return []byte{version, typ, 0, 0, 0, 0, 0, 0} }

// seal fills in the length and the transaction id of a message.
func seal(b []byte, xid uint32) {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint32(b[4:], xid)
}

func zeros(b []byte, n int) []byte { return append(b, make([]byte, n)...) }

func pad8(n int) int { return (n + 7) &^ 7 }
