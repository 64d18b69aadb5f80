#!/bin/sh
# ovn.sh [DIR]   gets OVN for `make bench`: Debian trixie's packages of OVN 25.03, unpacked into DIR (default tmp/ovn)
#
# Nothing is installed: the programs are run by the unpacked tree's own loader, so that they get along with an older
# system. Where trixie's packages cannot be had, the distribution's own are installed (ovn-central, ovn-host; root).
set -eu

cd "$(dirname "$0")/.."
dir=${1:-tmp/ovn}
suite=trixie
packages="ovn-common ovn-central ovn-host openvswitch-common
	libc6 libssl3t64 libcap-ng0 libunbound8 libevent-2.1-7t64 libnghttp2-14 libxdp1 libbpf1 libelf1t64
	zlib1g libzstd1 libnuma1 libexpat1 libsodium23 libprotobuf-c1 libgcc-s1 libhiredis1.1.0 libunwind8 liblzma5 libatomic1"

works() {
	[ -x "$dir/usr/lib64/ld-linux-x86-64.so.2" ] || return 1
	"$dir/usr/lib64/ld-linux-x86-64.so.2" --library-path "$dir/usr/lib/x86_64-linux-gnu" "$dir/usr/bin/ovn-northd" --version
}

# unpack fetches from the mirror that the machine's own apt uses, with a state of its own.
unpack() {
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ')
	[ -n "$mirror" ] && [ -e $keys ] || return 1
	rm -rf "$dir" "$dir.apt"
	mkdir -p "$dir" "$dir.apt/lists/partial" "$dir.apt/cache/archives/partial" "$dir.apt/debs"
	a=$(cd "$dir.apt" && pwd)
	echo "deb [signed-by=$keys] $mirror $suite main" >"$a/sources.list"
	: >"$a/status"
	fetch() {
		(cd "$a/debs" && apt-get -qq -o Dir::Etc::SourceList="$a/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State="$a" \
			-o Dir::State::Lists="$a/lists" -o Dir::State::status="$a/status" -o Dir::Cache="$a/cache" -o Dir::Etc::Preferences=/dev/null \
			-o Dir::Etc::PreferencesParts=/dev/null -o APT::Sandbox::User=root "$@")
	}
	# shellcheck disable=SC2086 # a list of packages
	fetch update && fetch download $packages || return 1
	for f in "$a"/debs/*.deb; do
		dpkg-deb -x "$f" "$dir" || return 1
	done
	rm -rf "$a"
}

if works >/dev/null 2>&1 || command -v ovn-northd >/dev/null 2>&1; then
	exit 0
fi
echo "ovn: unpacking OVN of Debian $suite into $dir"
if unpack && works; then
	exit 0
fi
rm -rf "$dir" "$dir.apt"
echo "ovn: that failed; installing the distribution's OVN"
exec scripts/deps.sh ovn
