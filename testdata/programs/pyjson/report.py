#!/usr/bin/env python3
"""Reads orders.json next to it, prints a digest of each order, a random number
and the time; ctypes calls into libc. Exits 5, because one order has no price."""
import ctypes
import hashlib
import json
import os
import pathlib
import sys
import time


def main():
    orders = json.loads((pathlib.Path(__file__).parent / "orders.json").read_text())
    libc = ctypes.CDLL(None)
    print(f"python {sys.version_info.major}, same pid: {libc.getpid() == os.getpid()}")
    unpriced = 0
    for order in orders:
        digest = hashlib.sha256(json.dumps(order, sort_keys=True).encode()).hexdigest()
        print(order["id"], digest[:12])
        unpriced += "price" not in order
    print(os.urandom(4).hex(), time.time_ns())
    return 5 if unpriced else 0


if __name__ == "__main__":
    sys.exit(main())
