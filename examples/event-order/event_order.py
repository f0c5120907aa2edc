#!/usr/bin/env python3
"""Two workers drain a queue of order events and keep the state of each order.

Payments are checked against their receipt, which takes a moment; shipments
are only noted. At the end every order must have been paid before it shipped.
"""
import hashlib
import queue
import random
import sys
import threading

ORDERS = 200
PACKING = 75  # minutes, at least
WORKERS = 2
STEPS = ("created", "paid", "shipped")


class Order:
    def __init__(self, number):
        self.number = number
        self.history = []

    def advance(self, step):
        expected = STEPS[len(self.history)]
        if step != expected:
            raise ValueError(f"order {self.number} is {step}, but was not yet {expected}")
        self.history.append(step)


def traffic():
    """Returns a day's events in the order in which they happened."""
    day = []
    for number in range(ORDERS):
        created = random.uniform(0, 1440)
        paid = created + random.expovariate(1 / 30)
        shipped = paid + PACKING + random.expovariate(1 / 60)
        day += zip((created, paid, shipped), (number,) * 3, STEPS)
    return [(number, step) for _, number, step in sorted(day)]


def check_receipt(number):
    digest = str(number).encode()
    for _ in range(20):
        digest = hashlib.sha256(digest).digest()
    return digest


def worker(events, orders, failures):
    while (event := events.get()) is not None:
        number, step = event
        if step == "paid":
            check_receipt(number)
        try:
            orders[number].advance(step)
        except ValueError as e:
            failures.append(e)


def main():
    orders = [Order(n) for n in range(ORDERS)]
    events, failures = queue.Queue(), []
    workers = [threading.Thread(target=worker, args=(events, orders, failures)) for _ in range(WORKERS)]
    for w in workers:
        w.start()
    for event in traffic():
        events.put(event)
    for w in workers:
        events.put(None)
    for w in workers:
        w.join()
    if failures:
        print(f"event-order: {failures[0]}", file=sys.stderr)
        return 1
    print(f"event-order: {ORDERS} orders went through")
    return 0


if __name__ == "__main__":
    sys.exit(main())
