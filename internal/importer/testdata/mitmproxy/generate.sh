#!/bin/sh
# generate.sh HAR_DUMP DEST makes an archive with mitmproxy: see ../README.md.
set -eu
home=$(mktemp -d)
mitmdump -q --set confdir="$home" --set ssl_verify_upstream_trusted_ca=/etc/ssl/certs/ca-certificates.crt -p 8080 -s "$1" --set hardump="$2" &
pid=$!
ask() { curl -s -o /dev/null -k -x http://127.0.0.1:8080 "$@"; }
until ask http://api.example.test/now; do sleep 0.2; done
base=https://api.example.test
ask $base/item/1
ask -H 'Content-Type: application/json' -d '{"id":17,"customer":"ada@example.com"}' $base/echo
printf '\000\377\001\376' | ask -H 'Content-Type: application/octet-stream' --data-binary @- $base/echo
ask -d a=1 -d b=2 $base/echo
ask "$base/big?n=100"
ask $base/events
ask --compressed -I $base/status/404
kill $pid
wait $pid || true
rm -r "$home"
