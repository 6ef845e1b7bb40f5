"""Bytes and seconds of a backup: of one account and of ten, by each kind of recovery key.

python bench/backup.py
"""

import itertools
import os
import time

from participant.backup import backup, kem
from participant.committee import Committee
from participant.identity import NodeKeys
from tss.params import CGGMP24_SECP256K1
from tss.records import KeyShare
from tss.vss import Polynomial

SUITES = {"secp256k1": CGGMP24_SECP256K1}
GROUP = CGGMP24_SECP256K1.group


def share(me: int) -> KeyShare:
    f = Polynomial.random(GROUP, 2, os.urandom)
    xs = {i: f.evaluate(i) for i in (1, 2, 3)}
    public = {i: GROUP.mul_base(x) for i, x in xs.items()}
    return KeyShare(
        CGGMP24_SECP256K1,
        os.urandom(32),
        os.urandom(32),
        2,
        me,
        f.commit()[0],
        public,
        os.urandom(32),
        xs[me],
    )


def main() -> None:
    nodes = [NodeKeys.generate() for _ in range(3)]
    committee = Committee.of([node.card() for node in nodes], 2)
    me = committee.index_of(nodes[0].identity) + 1
    print("| recovery key | accounts | bytes | make | verify | open |\n|---|---|---|---|---|---|")
    for kind in kem.KINDS:
        key = kem.generate(kind, os.urandom)
        for count in (1, 10):
            shares = {f"account {number}": ("secp256k1", share(me)) for number in range(count)}
            moments = [time.perf_counter()]
            file = backup.make(nodes[0], committee, shares, [key.public], 1, created_at=0, rng=os.urandom)
            moments.append(time.perf_counter())
            found = backup.read(file, SUITES)
            found.verify()
            moments.append(time.perf_counter())
            found.open([key])
            moments.append(time.perf_counter())
            times = [f"{(b - a) * 1000:.0f} ms" for a, b in itertools.pairwise(moments)]
            print(f"| {kind} | {count} | {len(file):,} | {' | '.join(times)} |")


if __name__ == "__main__":
    main()
