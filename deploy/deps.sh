#!/usr/bin/env bash
# Installs what turnwarden's tests run against (`deps.sh demo`: what the demo does,
# `deps.sh packages`: what the tests of the installed packages need besides):
# coturn, ZooKeeper, Prometheus, Chromium and small tools. Says what is missing, installs only that, and leaves
# no service running. With everything in place it needs no root and changes nothing.
set -euo pipefail

# Administrators' directories, where ip lives, are not in everybody's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# What is needed (programs, and files by absolute path), by the Debian package
# that has it. The demo needs no browser, no packages, nor gcc and libc6-dev, which are for the
# race detector.
needs='
coturn               turnserver turnadmin turnutils_uclient
default-jre-headless java
libzookeeper-java    /usr/share/java/zookeeper.jar
libslf4j-java        /usr/share/java/slf4j-api.jar /usr/share/java/slf4j-simple.jar
prometheus           prometheus promtool
haproxy              haproxy
sqlite3              sqlite3
iproute2             ip ss
curl                 curl
patch                patch
'
[[ ${1:-} == demo ]] || needs+='
chromium             chromium
systemd              systemd-analyze /usr/lib/systemd/system/sysinit.target
gcc                  gcc
libc6-dev            /usr/include/stdlib.h
jq                   jq
netcat-openbsd       nc
nftables             nft
openssl              openssl
procps               top pkill
'
[[ ${1:-} != packages ]] || needs+='
debootstrap          debootstrap
systemd-container    systemd-nspawn
rpm                  rpm rpm2cpio
cpio                 cpio
npm                  npm node
'

packages=() missing=()
while read -r package things; do
	[[ $package ]] || continue
	lacking=()
	for thing in $things; do
		if [[ $thing == /* ]]; then
			[[ -e $thing ]] || lacking+=("$thing")
		else
			command -v "$thing" >/dev/null || lacking+=("$thing")
		fi
	done
	if ((${#lacking[@]})); then
		packages+=("$package")
		missing+=("  $package (for ${lacking[*]})")
	fi
done <<<"$needs"

((${#packages[@]})) || exit 0

echo 'These packages are missing:'
printf '%s\n' "${missing[@]}"

if ! command -v apt-get >/dev/null; then
	echo 'There is no apt here: install what is named in brackets with the package manager of this system, then try again.' >&2
	exit 1
fi
if ((EUID != 0)); then
	echo 'Installing them takes root. Run: sudo make deps' >&2
	echo "or, which starts coturn and Prometheus too: sudo apt-get install --no-install-recommends ${packages[*]}" >&2
	exit 1
fi
echo 'Installing them with apt-get; no service is started.'

# Debian starts a service as it is installed, unless policy-rc.d says 101. An
# administrator's own policy stays as it is.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 130' INT TERM HUP
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${packages[@]}")
# The lists may be absent (as in an image) or older than what the mirror still has.
"${apt[@]}" --simulate >/dev/null 2>&1 || apt-get update
"${apt[@]}" || { apt-get update && "${apt[@]}"; }

# Nor are they to start with the next boot.
for service in coturn prometheus haproxy; do
	if [[ " ${packages[*]} " == *" $service "* ]] && command -v systemctl >/dev/null; then
		systemctl disable --quiet "$service.service"
	fi
done
