"""Presigning: busy is what runs between the request and the presignature, all adds what was prepared beforehand.

Prepared is what a node's pool makes in idle time. Its tables, made once for a key, are there before anything is measured; filling the
pool again after a run is that run's preparation.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

from bench.keys import SUITE, aux_sets, key_shares
from bench.measure import Figures, Reference, Topic
from bench.parties import Agreed, Party, committee, run_session
from tss.cggmp24 import presign
from tss.cggmp24.presign_prove import fill_for
from tss.cggmp24.presignature import Presignature
from tss.randomizers import Pool
from tss.session import Round0

OWNER: Final = 1
RUNS: Final = {1: 4, 16: 1}
"""Sessions by their batch, in each of which every signer is measured."""
POOLS: Final[defaultdict[int, Pool]] = defaultdict(lambda: Pool(SUITE.level))
"""By evaluation point."""


def prepare(parties: Sequence[Party], batch: int) -> None:
    """Fill everybody's pool for a session, at its own expense."""
    n = len(parties)
    for party in parties:
        pool = POOLS[party.point]
        fill_for(pool, aux_sets(n)[party.point], n, batch)
        party.session = None
        while party.charged(partial(pool.step, os.urandom)):
            pass


def presign_together(parties: Sequence[Party], batch: int) -> dict[int, list[Presignature]]:
    """One session of all of `parties`, which are the whole committee."""
    n = len(parties)
    shares, aux = key_shares(n, n), aux_sets(n)
    points = [party.point for party in parties]
    tail = presign.tail(shares[OWNER], aux[OWNER], points, OWNER, batch)
    owner = parties[0].party
    programs = {
        j: partial(
            presign.presign, share=shares[j], aux=aux[j], owner=owner, batch=batch, randomizers=POOLS[j]
        )
        for j in points
    }
    agreed = Agreed(presign.KIND, tail, Round0.WITH_ROUND_1)
    return run_session(parties, agreed, programs)


def busy(parties: Sequence[Party], batch: int) -> list[float]:
    """A session from full pools: what each party computes for a presignature, ms."""
    for party in parties:
        party.reset()
    presign_together(parties, batch)
    return [party.ms / batch for party in parties]


def _figures(signers: int, batch: int, names: tuple[str, str], reference: Reference) -> Figures:
    parties = committee(signers)
    # What is made once a key and signer set is there from here on.
    prepare(parties, batch)
    presign_together(parties, 1)
    prepare(parties, batch)
    online, everything = [], []
    reference.sample()
    for _ in range(RUNS[batch]):
        online += busy(parties, batch)
        reference.sample()
        prepare(parties, batch)
        everything += [party.ms / batch for party in parties]
        reference.sample()
    return dict(zip(names, (median(online), median(everything)), strict=True))


def _topic(name: str, signers: int, batch: int) -> Topic:
    names = f"{name}_busy", f"{name}_all"
    return Topic(names, "ms", partial(_figures, signers, batch, names))


def _wire(_reference: Reference) -> Figures:
    """Of the party that sends the most."""
    parties = committee(2)
    presign_together(parties, 1)
    return {"wire_bytes_presign_2": max(party.bytes_sent for party in parties)}


TOPICS: Final = (
    _topic("presign_2", 2, 1),
    _topic("presign_2_batch16", 2, 16),
    _topic("presign_3_batch16", 3, 16),
    Topic(("wire_bytes_presign_2",), "bytes", _wire),
)
