#!/bin/sh
# generate.sh DEST makes a WARC file with wget: see ../README.md.
set -eu
base=https://api.example.test
exec wget -q --no-warc-keep-log --warc-file="$1" -O /dev/null $base/item/1 $base/item/2 "$base/big?n=100" $base/events $base/trailer
