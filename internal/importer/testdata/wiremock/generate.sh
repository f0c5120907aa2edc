#!/bin/sh
# generate.sh JAR DEST makes stubs with WireMock: see ../README.md.
set -eu
jar=$1 dest=$2
java -jar "$jar" --port 8080 --root-dir "$dest" --disable-banner >/dev/null 2>&1 &
trap 'kill $!' EXIT
at=http://127.0.0.1:8080
until curl -sf -o /dev/null $at/__admin/mappings; do sleep 0.2; done
curl -sf $at/__admin/recordings/start -d '{"targetBaseUrl":"http://api.example.test","requestBodyPattern":{"matcher":"equalTo"},"extractBodyCriteria":{"textSizeThreshold":"60","binarySizeThreshold":"60"}}' >/dev/null
curl -sf -o /dev/null $at/item/1
curl -sf -o /dev/null $at/item/2
curl -sf -o /dev/null $at/item/2
curl -sf -o /dev/null -H 'Content-Type: application/json' -d '{"id":17}' $at/echo
curl -s -o /dev/null "$at/status/404?why=a%20b"
curl -sf -o /dev/null "$at/big?n=100"
curl -sf -X POST $at/__admin/recordings/stop >/dev/null
# As it records without being told otherwise: JSON, of which more may come.
curl -sf $at/__admin/recordings/start -d '{"targetBaseUrl":"http://api.example.test"}' >/dev/null
curl -sf -o /dev/null -H 'Content-Type: application/json' -d '{"id":18}' $at/echo
curl -sf -X POST $at/__admin/recordings/stop >/dev/null
