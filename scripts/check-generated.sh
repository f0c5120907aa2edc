#!/bin/sh
# The guest's init is committed as a program; it must be what its source makes.
# Another compiler makes other bytes, so only the one that built it can compare.
set -eu
dir=internal/vm/guest
built=$(cat $dir/init.elf.compiler)
here=$(gcc --version | head -1)
if [ "$built" != "$here" ]; then
	echo "check: init.elf was built with $built, here is $here: not compared"
	exit 0
fi
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
make -s -C $dir OUT="$tmp" build
cmp "$tmp" $dir/init.elf || { echo "check: $dir/init.elf is stale: run make generate"; exit 1; }
