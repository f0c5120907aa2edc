"""Makes cassettes with vcrpy: see ../README.md."""
import sys

import requests
import vcr

base, out = sys.argv[1], sys.argv[2]
for name in ("yaml", "json"):
    with vcr.VCR(serializer=name).use_cassette(f"{out}/cassette.{name}"):
        requests.get(base + "/item/1")
        requests.get(base + "/item/1")
        requests.post(base + "/echo", data='{"id": 17}', headers={"Content-Type": "application/json"})
        requests.get(base + "/status/404")
        if name == "yaml":  # its JSON has no form for bytes
            requests.post(base + "/echo", data=b"\x00\xff\x01\xfe")
            requests.get(base + "/big?n=100")
