#!/bin/sh
# deps.sh       installs the Debian/Ubuntu packages that demo and test need and that are missing
# deps.sh go    checks the Go toolchain only
# deps.sh bench the same as without a word, and OVN to compare with (see ovn.sh)
# deps.sh ovn   the same as without a word, and the distribution's OVN
#
# Nothing is installed when nothing is missing, so this is cheap to call each time. The services of the packages
# (Open vSwitch above all) are not started: the labs run their own switches in namespaces of their own.
set -eu

cd "$(dirname "$0")/.."

# package:program that tells whether it is there, by its name or its path
wanted="
openvswitch-switch:ovs-vswitchd
iproute2:ip
iputils-ping:ping
net-tools:ifconfig
ethtool:ethtool
tcpdump:tcpdump
traceroute:traceroute
iperf3:iperf3
wget:wget
busybox-static:busybox
isc-dhcp-client:dhclient
ndisc6:rdisc6
radvd:radvd
nfdump:nfcapd
docker.io:dockerd
containernetworking-plugins:/usr/lib/cni/bridge
etcd-client:etcdctl
procps:ps
util-linux:mount
etcd-server:etcd
jq:jq
fping:fping
systemd:systemd-socket-activate
iptables:iptables
"

if [ "${1:-}" = ovn ]; then
	wanted="$wanted
ovn-central:ovn-northd
ovn-host:ovn-controller
"
fi

PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin
export PATH

check_go() {
	need=$(sed -n 's/^go //p' go.mod)
	if ! command -v go >/dev/null 2>&1; then
		echo "deps: Go is missing: install Go $need or newer into /usr/local/go or the PATH (https://go.dev/dl)" >&2
		exit 1
	fi
	have=$(go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
	oldest=$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)
	if [ "$oldest" != "$need" ]; then
		echo "deps: Go $have found, $need or newer is needed" >&2
		exit 1
	fi
}

missing() {
	for w in $wanted; do
		command -v "${w#*:}" >/dev/null 2>&1 || printf '%s ' "${w%%:*}"
	done
}

# ovs_active tells whether the machine's own Open vSwitch service runs.
ovs_active() {
	command -v systemctl >/dev/null 2>&1 && systemctl -q is-active openvswitch-switch 2>/dev/null
}

# apt_install installs packages while a policy-rc.d keeps their services from being started.
apt_install() {
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	ovs_active && before=active || before=inactive
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # a list of packages
	if ! apt-get install -y -q --no-install-recommends $1; then
		apt-get update -q
		apt-get install -y -q --no-install-recommends $1
	fi
	if [ "$before" = inactive ] && ovs_active; then
		systemctl stop openvswitch-switch # started by its package, nobody asked for it
	fi
}

install_missing() {
	packages=$(missing)
	[ -z "$packages" ] && return 0
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "deps: please install what provides these Debian packages: $packages" >&2
		exit 1
	fi
	if [ "$(id -u)" != 0 ]; then
		echo "deps: missing packages: $packages: run 'sudo make deps'" >&2
		exit 1
	fi
	echo "deps: installing $packages"
	apt_install "$packages"
	still=$(missing)
	if [ -n "$still" ]; then
		echo "deps: still missing after the installation: $still" >&2
		exit 1
	fi
}

check_go
[ "${1:-}" = go ] && exit 0
install_missing
if [ "${1:-}" = bench ]; then
	scripts/ovn.sh || echo "deps: OVN cannot be had: the benchmarks run without it" >&2
fi
