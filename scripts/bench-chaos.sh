#!/bin/sh
# bench-chaos.sh [FLAG...] counts for every program of testdata/chaos how many
# of 200 recorded attempts fail, plain and with --chaos, and replays the first
# failing recordings. It takes an hour or so on two cores. The flags are those
# of bench/chaos: -n 50 for a quick look, -strategy sites for one strategy alone.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sh testdata/chaos/build.sh "$work/programs"
(cd bench && go build -o "$work/chaos" ./chaos)
cache=${TAPEDECK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tapedeck}
cd "$work/programs"
for name in *; do
	case $name in *.prove) rm "$name" ;; esac
done
"$work/chaos" -cache "$cache" "$@" *
