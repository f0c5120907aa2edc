#!/bin/sh
# The main job on a real flaky program: record until it fails, replay it five
# times, find the store that did it. Every line printed below is a result.
set -eu
tapedeck=$PWD/bin/tapedeck
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n$ %s\n' "$*"; }

cp examples/session-cache/* "$dir"
cd "$dir"
make -s

say "tapedeck record --until-fail 500 -o bug.tar.zst -- ./session-cache"
code=0
"$tapedeck" record --until-fail 500 -o bug.tar.zst -- ./session-cache 2>log || code=$?
cat log
[ "$code" -gt 128 ] || { echo "demo: the program did not crash in 500 attempts (exit code $code)"; exit 1; }

# the program's message names what is corrupt
expr=$(sed -n 's/^session-cache: \(sessions\[[0-9]*\]\.state\) is .*/\1/p' log)

say "tapedeck replay --times 5 -q bug.tar.zst"
"$tapedeck" replay --times 5 -q bug.tar.zst

say "tapedeck rewind --last-write '$expr' bug.tar.zst"
"$tapedeck" rewind --last-write "$expr" bug.tar.zst | tee story

by=$(sed -n 's/^  by \(.*\), thread.*/\1/p' story)
printf '\nThe program died because %s was not a state. It was overwritten by %s:\n' "$expr" "$by"
line=$(printf %s "$by" | sed 's/.*:\([0-9]*\))/\1/')
sed -n "$((line - 6)),$((line + 1))p" session_cache.c
