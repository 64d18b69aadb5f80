package tpctl

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tuplenet/model"
	"tuplenet/model/store"
)

// decodeIDCommand tells which object a number of packets and flows stands for: the VNI of a Geneve header or of a flow's metadata,
// alone or with the key of a port, as a capture or a dump shows them.
func (a *app) decodeIDCommand() *cobra.Command {
	return a.command(verb{
		use: "decode-id-string VNI[/KEY]...", min: 1, max: 64, wrong: "at least one number required, such as 0x2 or 2/0x1",
		short: "Tell which switch, router or port a VNI and a port key stand for",
		run: func(cmd *cobra.Command, args []string) error {
			ids := make([]numbered, len(args))
			for i, arg := range args {
				var err error
				if ids[i], err = parseNumbered(arg); err != nil {
					return err
				}
			}
			set, err := resolveSettings(a.flags, a.env)
			if err != nil {
				return err
			}
			st, err := open(set)
			if err != nil {
				return err
			}
			defer st.Close()
			snap, err := st.Snapshot(cmd.Context(), model.KindSwitch, model.KindSwitchPort, model.KindRouter, model.KindRouterPort)
			if err != nil {
				return err
			}
			var unknown error
			for i := range ids {
				if ids[i].Object = ids[i].find(snap); ids[i].Object == "" && unknown == nil {
					unknown = notFound{args[i] + " is not the number of anything"}
				}
			}
			if set.Output.structured() {
				err = writeDocument(a.env.Stdout, set.Output, ids)
			} else {
				for _, id := range ids {
					if id.Object != "" {
						fmt.Fprintln(a.env.Stdout, id.Object)
					}
				}
			}
			return errors.Join(err, unknown)
		},
	})
}

// numbered is a number of the data plane and the object that has it.
type numbered struct {
	VNI    model.VNI     `json:"vni"`
	Key    model.PortKey `json:"key,omitempty"`
	Object string        `json:"object,omitempty"`
}

func parseNumbered(text string) (id numbered, err error) {
	vni, key, port := strings.Cut(text, "/")
	if id.VNI, err = model.ParseVNI(vni); err != nil || !port {
		return id, err
	}
	n, err := strconv.ParseUint(key, 0, 16)
	if err != nil || n == 0 || n > uint64(model.MaxPortKey) {
		return id, fmt.Errorf("invalid port key %q: a number from 1 to %d", key, model.MaxPortKey)
	}
	id.Key = model.PortKey(n)
	return id, nil
}

// find looks for the object; "" if there is none.
func (id numbered) find(snap *store.Snapshot) string {
	for _, ls := range snap.Switches() {
		if ls.VNI == id.VNI && id.Key == 0 {
			return ls.Ref().String()
		}
		if ls.VNI == id.VNI {
			for _, p := range snap.SwitchPorts(ls.Name) {
				if p.Key == id.Key {
					return p.Ref().String()
				}
			}
		}
	}
	for _, lr := range snap.Routers() {
		if lr.ID == id.VNI && id.Key == 0 {
			return lr.Ref().String()
		}
		if lr.ID == id.VNI {
			for _, p := range snap.RouterPorts(lr.Name) {
				if p.Key == id.Key {
					return p.Ref().String()
				}
			}
		}
	}
	return ""
}
