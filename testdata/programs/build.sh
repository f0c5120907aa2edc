#!/bin/sh
# build.sh [-k] DEST compiles every program here into the folder DEST.
# It lists what it could not build, and then exits 1. With -k ("keep going") a
# compiler that is not installed is no reason to; a program that does not
# compile always is.
set -u

tolerate=
if [ "${1:-}" = -k ]; then
	tolerate=1
	shift
fi
if [ $# -ne 1 ]; then
	echo "usage: build.sh [-k] DEST" >&2
	exit 4
fi
mkdir -p "$1" || exit 1
dest=$(cd "$1" && pwd)
cd "$(dirname "$0")" || exit 1
failed=

# build NAME COMPILER ARGS… runs one compiler.
build() {
	name=$1
	shift
	if ! command -v "$1" >/dev/null; then
		echo "not built: $name ($1 is not installed)" >&2
		[ -n "$tolerate" ] || failed=1
	elif ! "$@"; then
		echo "not built: $name" >&2
		failed=1
	fi
}

cflags="-O1 -g -Wall -Wextra"
for name in race forks reads spin hang surroundings streams segv; do
	build $name gcc $cflags -pthread -o "$dest/$name" $name.c
done
build libinventory.so gcc $cflags -fPIC -shared -o "$dest/libinventory.so" sharedlib/inventory.c
build sharedlib gcc $cflags -fPIE -pie -Wl,-rpath,'$ORIGIN' -o "$dest/sharedlib" sharedlib/sharedlib.c -L"$dest" -linventory
build throw g++ $cflags -o "$dest/throw" throw.cc
build panic rustc -g -O -o "$dest/panic" panic.rs
build gostatic go build -o "$dest/gostatic" ./gostatic
build gocgo go build -o "$dest/gocgo" ./gocgo
build httpcurl gcc $cflags -o "$dest/httpcurl" httpcurl.c -lcurl
build httpgo env CGO_ENABLED=0 go build -o "$dest/httpgo" ./httpgo
build httporder env CGO_ENABLED=0 go build -o "$dest/httporder" ./httporder
build grpcgo env CGO_ENABLED=0 go build -o "$dest/grpcgo" ./grpcgo
build httpvolatile env CGO_ENABLED=0 go build -o "$dest/httpvolatile" ./httpvolatile
build httplib env CGO_ENABLED=0 go build -o "$dest/httplib" ./httplib
build lab go build -o "$dest/lab" ./lab
build HttpJava.class javac -g -d "$dest" HttpJava.java
build gotest.test go test -c -o "$dest/gotest.test" ./gotest
build Threads.class javac -g -d "$dest" Threads.java

# Scripts need no compiler, only to stand where the tests look.
cp pyjson/report.py pyjson/orders.json timers.js httppy.py httpnode.js "$dest/" || exit 1

[ -z "$failed" ]
