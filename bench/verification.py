"""What verifying a peer's rounds costs a presigning signer: together and one by one, at full parameters, in T.

    python bench/verification.py            # batches of 1 and 16
    python bench/verification.py 1

Processor time of one signer of two, for each presignature. The first run searches primes and keeps them in bench/.cache.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.keys import aux_sets, key_shares
from bench.measure import Reference
from bench.parties import Agreed, committee, run_session
from tss.cggmp24 import presign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.effects import Compute, Protocol, Receive, Received, SessionContext
from tss.envelope import PartyId, holder
from tss.session import Round0

TOGETHER = {
    "_gather1": "1: single checks", "_test_key": "N-th power of the peer", "_test_ring": "own ring", "_gather2": "2: single checks",
    "_test_own_key": "own N, with decryptions",
}  # fmt: skip


class Watched:
    """The run of one party, with the time of each of its computations."""

    def __init__(self, batch: int, reference: Reference) -> None:
        self.batch, self.reference = batch, reference
        self.ms: defaultdict[str, float] = defaultdict(float)
        self.single: list[float] = []

    def program(self, ctx: SessionContext, owner: PartyId) -> Protocol[Any]:
        me, (j,) = ctx.me.index, ctx.others
        run = Presigning(ctx, key_shares(2, 2)[me], aux_sets(2)[me], owner)
        rounds = presign._rounds(run, self.batch, None)  # noqa: SLF001 - to watch it
        result: Any = None
        items: list[Item] = []
        received: dict[int, Received] = {}
        while True:
            try:
                effect = rounds.send(result)
            except StopIteration as ended:
                made, _ = ended.value
                break
            if isinstance(effect, Compute):
                effect = Compute([partial(self._timed, job, f"r{len(received)}") for job in effect.jobs])
            result = yield effect
            items = items or (result if isinstance(effect, Compute) else [])
            if isinstance(effect, Receive):
                received[effect.round] = result[j]
        r1, r2 = received[1], received[2]
        self._alone("r1", partial(run.check_round1, 0, j, r1.broadcast[0], r1.p2p[0]))
        self._alone("r2", partial(run.check_round2, items[0], 0, j, r2.broadcast[0], r2.p2p[0]))
        self._alone("dec", partial(run.own.dec, r2.p2p[0][0]))
        return made

    def _timed(self, job: Callable[[], Any], where: str) -> Any:
        name = getattr(getattr(job, "func", job), "__name__", "")
        began = time.thread_time()
        value = job()
        self.ms[f"{where} {TOGETHER.get(name, name)}"] += 1000 * (time.thread_time() - began) / self.batch
        return value

    def _alone(self, name: str, check: Callable[[], Any]) -> None:
        began = time.thread_time()
        check()
        self.ms[f"alone {name}"] = 1000 * (time.thread_time() - began)


def main() -> None:
    """Print a table for each batch."""
    for batch in [int(word) for word in sys.argv[1:]] or (1, 16):
        reference, parties = Reference(), committee(2)
        reference.sample()
        shares, aux = key_shares(2, 2), aux_sets(2)
        tail = presign.tail(shares[1], aux[1], [1, 2], 1, batch)
        spent: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(3 if batch == 1 else 1):
            watched = [Watched(batch, reference) for _ in parties]
            programs = {j: partial(one.program, owner=holder(1)) for j, one in enumerate(watched, 1)}
            run_session(parties, Agreed(presign.KIND, tail, Round0.WITH_ROUND_1), programs)
            reference.sample()
            for one in watched:
                for name, ms in one.ms.items():
                    spent[name].append(ms)
        print(f"batch of {batch}, T = {reference.ms:.2f} ms; T for each presignature")
        for name, values in spent.items():
            print(f"  {name:34}{median(values) / reference.ms:8.2f}")


if __name__ == "__main__":
    main()
