"""httppy.py URL: what httpgo does, with requests and with urllib."""
import sys
import urllib.request
import uuid

import requests

base = sys.argv[1]
print("uuid", uuid.uuid4())
s = requests.Session()
print(s.get(base + "/now").text.strip())
print(s.post(base + "/echo", json={"id": str(uuid.uuid4()), "customer": "ada@example.com"}).text.strip())
for i in range(3):
    r = s.get(f"{base}/item/{i}")
    print(r.status_code, r.headers["Set-Cookie"], r.text.strip())
with urllib.request.urlopen(base + "/now") as r:
    print(r.read().decode().strip())
