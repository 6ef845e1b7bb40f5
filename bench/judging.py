"""How large is evidence at full parameters, and how long does it take to judge it?

    python bench/judging.py              # every step; some minutes, most of them the identification's proofs
    python bench/judging.py --no-identification

One lie a step, told by party 2 of two signers (three parties for the key); the judge knows the committee's identities and nothing
else. Seconds are processor time of its one thread, without the primes that a verifier's own moduli have.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from cggmp24_cheating import changed, reports
from cggmp24_testing import Signers, run_aux, run_keygen
from session_testing import Outcomes, Program, says, tells

from tss.cggmp24 import presign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.effects import SessionContext
from tss.errors import PeerFault
from tss.judge import judge
from tss.params import CGGMP24_SECP256K1

SUITE = CGGMP24_SECP256K1
Q = SUITE.group.q
SIGNERS = Signers((1, 2), 2, suite=SUITE)


class LiesInDelta(Presigning):
    """Sends delta_i + 1."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, *rest = super().open_masks(item, received)
        return [(delta + 1) % Q, *rest]


def lying(ctx: SessionContext) -> Any:
    return presign._rounds(SIGNERS.presigning(ctx, LiesInDelta), 1, None)  # noqa: SLF001 - as the tests' cheaters


def item(list_: int, place: int, new: Any) -> Any:
    """A change of one value in the only item of a batch: in one of its proofs, or in itself."""
    if list_ < 0:
        return lambda items: [changed(items[0], place, new)]
    return lambda items: [changed(items[0], list_, lambda psi: changed(psi, place, new))]


def cases(*, identification: bool) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    keygen, aux, signing = (
        partial(run_keygen, 3, 2, suite=SUITE),
        partial(run_aux, 2, suite=SUITE),
        SIGNERS.presign,
    )
    yield "false share", keygen, {"tamper": {2: [tells(2, lambda v: [(v[0] + 1) % Q, *v[1:]], to=1)]}}
    yield "proof of the share", keygen, {"tamper": {2: [says(3, lambda v: [v[0], (v[1] + 1) % Q])]}}
    # The last equation of the last repetition.
    last_z = lambda psi: [psi[0], [*psi[1][:-1], changed(psi[1][-1], 1, lambda a: 1 - a)]]  # noqa: E731
    yield "mod, the last root", aux, {"tamper": {2: [says(3, last_z)]}}
    yield (
        "fac, the last equation",
        aux,
        {"tamper": {2: [tells(3, lambda psi: changed(psi, 9, lambda v: -v), to=1)]}},
    )
    yield "enc-elg", signing, {"tamper": {2: [tells(1, item(1, 8, lambda z: z + 1), to=1)]}}
    yield "aff-g", signing, {"tamper": {2: [tells(2, item(5, 10, lambda z: z + 1), to=1)]}}
    said3 = says(
        3, lambda v: [[changed(v[0][0], 3, lambda psi: changed(psi, 4, lambda u: (u + 1) % Q))], v[1]]
    )
    yield "elog in round 3", signing, {"tamper": {2: [said3]}}
    if identification:
        programs: dict[int, Program] = {2: lying}
        yield "failed nonce: dec", signing, {"programs": programs}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-identification", action="store_true", help="leave the long one out")
    chosen = parser.parse_args()
    print(f"{'lie':24}{'check':44}{'bytes':>10}{'seconds':>9}")
    for name, run, options in cases(identification=not chosen.no_identification):
        outcomes: Outcomes = run(seed=name, drop=reports, **options)
        error = outcomes[1].error
        if not isinstance(error, PeerFault) or error.evidence is None:
            sys.exit(f"{name}: {error!r}")
        identities = {member.party: member.identity for member in outcomes.committee.members}
        began = time.process_time()
        verdict = judge(error.evidence, identities)
        seconds = time.process_time() - began
        if not verdict.guilty:
            sys.exit(f"{name}: {verdict}")
        print(f"{name:24}{verdict.check:44}{len(error.evidence):10}{seconds:9.2f}", flush=True)


if __name__ == "__main__":
    main()
