//go:build bench

package bench

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"tuplenet/datapath/apply"
	"tuplenet/datapath/ovstest"
)

// Message types of OpenFlow 1.5, and where the message in a message for a bundle begins (section 7.3.9.6).
const (
	typeFlowMod   = 14
	typeBundleAdd = 34
	bundleHeader  = 16
)

// recordMods fills the switch through a socket of its own that copies what passes, and writes the flow-mods found in the bundles to a file.
func recordMods(t *testing.T, sw *ovstest.Switch, sets map[string]*apply.Set, file string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "copy.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	ended := make(chan error, 1)
	go func() { ended <- copyMods(l, sw.Mgmt(), out) }()
	fill(t, socket, sets)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// copyMods passes on one connection until its client ends it.
func copyMods(l net.Listener, to string, mods io.Writer) error {
	client, err := l.Accept()
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := net.Dial("unix", to)
	if err != nil {
		return err
	}
	defer server.Close()
	go func() { _, _ = io.Copy(client, server) }()
	for {
		message := make([]byte, 8)
		if _, err := io.ReadFull(client, message); err != nil {
			return nil // the client has what it wanted
		}
		n := binary.BigEndian.Uint16(message[2:])
		message = append(message, make([]byte, max(8, n)-8)...)
		if _, err := io.ReadFull(client, message[8:]); err != nil {
			return err
		}
		if message[1] == typeBundleAdd && message[bundleHeader+1] == typeFlowMod {
			inner := message[bundleHeader:]
			if _, err := mods.Write(inner[:binary.BigEndian.Uint16(inner[2:])]); err != nil {
				return err
			}
		}
		if _, err := server.Write(message); err != nil {
			return err
		}
	}
}
