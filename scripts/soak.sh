#!/bin/sh
# soak.sh [SECONDS] records racy programs again and again, with chaos and
# without, and replays each recording; it ends at the first that differs.
set -eu
end=$(($(date +%s) + ${1:-3600}))
tapedeck=$PWD/bin/tapedeck
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
sh testdata/programs/build.sh "$dir"
sh testdata/chaos/build.sh "$dir"
n=0
cd "$dir"
while [ "$(date +%s)" -lt "$end" ]; do
	for run in ./race ./gostatic './forks' 'python3 report.py' '--chaos ./balance' '--chaos ./refcount' '--chaos ./doubleclose'; do
		flags=
		case $run in --chaos*) flags=--chaos run=${run#--chaos } ;; esac
		# shellcheck disable=SC2086 # the words of a command
		"$tapedeck" record --recorder vm $flags --timeout 5s -o run.tar.zst -- $run >/dev/null 2>log || [ $? -ne 125 ] || { cat log; exit 1; }
		"$tapedeck" replay -q run.tar.zst 2>log || { cat log; cp run.tar.zst "$OLDPWD/soak-failure.tar.zst"; exit 3; }
		n=$((n + 1))
	done
	echo "$n recordings replayed, all identical"
done
