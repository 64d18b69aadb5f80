#!/bin/sh
# docker-plugin.sh FOLDER             makes what `docker plugin create NAME FOLDER` wants: config.json and a root file system
# docker-plugin.sh FOLDER PROGRAM     the same with a tpcnm that is built already, and the libraries that it needs
#
# A managed plugin is the way into a swarm, which takes no plugin that is only a socket. It is tpcnm and nothing else,
# built without libc; its configuration is its environment (`docker plugin set`).
set -eu

out=${1:?"usage: docker-plugin.sh FOLDER [PROGRAM]"}
program=${2:+$(realpath "$2")}
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin
export PATH

rm -rf "$out/rootfs" "$out/config.json"
mkdir -p "$out/rootfs/bin" "$out/rootfs/run/docker/plugins" "$out/rootfs/var/run/openvswitch" "$out/rootfs/certificates" "$out/rootfs/tmp"
if [ -n "$program" ]; then
	cp "$program" "$out/rootfs/bin/tpcnm"
	for lib in $(ldd "$program" 2>/dev/null | grep -o '/[^ ]*'); do
		mkdir -p "$out/rootfs$(dirname "$lib")"
		cp "$lib" "$out/rootfs$lib"
	done
else
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "-X main.version=${VERSION:-unknown}" -o "$out/rootfs/bin/tpcnm" ./cmd/tpcnm
fi

# The network is the host's: interfaces are made there. The switch is reached by the socket of its database, and the
# certificates for etcd are seen in /certificates.
cat >"$out/config.json" <<'END'
{
  "description": "tuplenet: virtual networks on Open vSwitch",
  "documentation": "docs/guide/docker.md",
  "entrypoint": ["/bin/tpcnm"],
  "workdir": "/",
  "interface": {
    "types": ["docker.networkdriver/1.0", "docker.ipamdriver/1.0"],
    "socket": "tuplenet.sock"
  },
  "network": {"type": "host"},
  "linux": {"capabilities": ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]},
  "mounts": [
    {"name": "openvswitch", "description": "folder of the Open vSwitch database's socket", "type": "bind",
     "source": "/var/run/openvswitch", "destination": "/var/run/openvswitch", "options": ["rbind"], "settable": ["source"]},
    {"name": "certificates", "description": "folder of the certificates for etcd", "type": "bind",
     "source": "/etc/ssl", "destination": "/certificates", "options": ["rbind", "ro"], "settable": ["source"]}
  ],
  "env": [
    {"name": "TPCNM_ETCD_CLUSTER", "description": "HOST:PORT of etcd, several separated by commas", "value": "127.0.0.1:2379", "settable": ["value"]},
    {"name": "TPCNM_DATA_STORE_PREFIX", "value": "", "settable": ["value"]},
    {"name": "TPCNM_EGRESS_ROUTER_NAME", "description": "router that networks are linked to", "value": "", "settable": ["value"]},
    {"name": "TPCNM_SCOPE", "value": "global", "settable": ["value"]},
    {"name": "TPCNM_BRIDGE", "value": "", "settable": ["value"]},
    {"name": "TPCNM_ETCD_CACERT", "description": "file in /certificates", "value": "", "settable": ["value"]},
    {"name": "TPCNM_ETCD_CERT", "value": "", "settable": ["value"]},
    {"name": "TPCNM_ETCD_KEY", "value": "", "settable": ["value"]},
    {"name": "TPCNM_ETCD_USER", "description": "NAME:PASSWORD", "value": "", "settable": ["value"]}
  ]
}
END
