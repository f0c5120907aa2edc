#!/bin/sh
# Installs what is missing with the system's package manager, and says what.
#   setup.sh demo    what recording, replaying and rewinding a C program needs
#   setup.sh test    also the languages and tools that the tests use
set -eu
level=${1:-demo}

# command:package, looked for by command
demo='qemu-system-x86_64:qemu-system-x86 gdb:gdb gcc:gcc mkfs.ext4:e2fsprogs'
test="$demo g++:g++ musl-gcc:musl-tools debugfs:e2fsprogs qemu-img:qemu-utils rr:rr zstd:zstd tar:tar
python3:python3 openssl:openssl jq:jq node:nodejs java:default-jre-headless javac:default-jdk-headless jfr:default-jdk-headless
rustc:rustc sqlite3:sqlite3 softhsm2-util:softhsm2 ssh-keygen:openssh-client groff:groff-base unshare:util-linux ip:iproute2 curl:curl"

case $level in
demo) want=$demo ;;
test) want=$test ;;
*) echo "setup.sh: need demo or test, found $level" >&2; exit 4 ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=
for w in $want; do
	command -v "${w%%:*}" >/dev/null 2>&1 || missing="$missing ${w#*:}"
done
# gcc without the C library's headers can't build anything
[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
# libraries, looked for by a file of theirs
if [ "$level" = test ]; then
	[ -e /usr/include/x86_64-linux-gnu/curl/curl.h ] || missing="$missing libcurl4-openssl-dev"
	/usr/bin/python3 -c 'import requests' 2>/dev/null || missing="$missing python3-requests"
fi
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
[ -n "${missing% }" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "setup.sh: need root or sudo to install: $missing" >&2; exit 14; }
	sudo=sudo
fi
command -v apt-get >/dev/null || { echo "setup.sh: install these with your package manager: $missing" >&2; exit 14; }
echo "setup: installing $missing"
export DEBIAN_FRONTEND=noninteractive
install() { $sudo apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install || { $sudo apt-get update -q >/dev/null && install; } || { tail -20 "$log" >&2; exit 14; }
