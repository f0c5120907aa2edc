#!/bin/sh
# build.sh DEST compiles the programs into the folder DEST: NAME as it is, and
# NAME.prove with its window held open (the Go programs ask PROVE at run time).
set -eu
[ $# -eq 1 ] || { echo "usage: build.sh DEST" >&2; exit 4; }
mkdir -p "$1"
dest=$(cd "$1" && pwd)
cd "$(dirname "$0")"
for file in *.c; do
	name=${file%.c}
	gcc -O1 -g -Wall -Wextra -pthread -o "$dest/$name" "$file"
	gcc -O1 -g -Wall -Wextra -pthread -DPROVE -o "$dest/$name.prove" "$file"
done
for folder in */; do
	go build -o "$dest/${folder%/}" "./$folder"
done
