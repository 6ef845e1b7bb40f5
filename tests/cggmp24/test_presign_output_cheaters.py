"""Presigning with one malicious signer (protocol.md 3.2, 7): a lie for every check of round 3 and of the output, and who sees it."""

from __future__ import annotations

from typing import Any

import pytest
from cggmp24_cheating import MISPLACED, Cheat, assert_caught, changed, durable, reports
from presign_cheating import (
    ALL,
    CHEATER,
    DELTA,
    DELTA_POINT,
    PSI3,
    REQUEST,
    S_I,
    SIGNERS,
    G,
    H,
    O,
    Q,
    cheating,
    elsewhere,
    run,
    says3,
)
from session_testing import says
from tss_testing import TINY

from tss.cggmp24 import presign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.effects import Transcript
from tss.envelope import holder
from tss.errors import (
    BadPoint,
    Equivocation,
    InternalError,
    OutOfDomain,
    ProofInvalid,
)
from tss.zk import elog


class AnotherDelta(Presigning):
    """Delta_i of k + 1, with a proof that tries to say that A2 holds it."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, Delta, S, _ = super().open_masks(item, received)
        Delta = Delta + item.Gamma
        statement = elog.Statement(L=item.A1, M=item.A2, X=item.Y, Y=Delta, h=item.Gamma)
        place = self.ctx.proof("delta", self.ctx.me, sid=item.isid)
        psi = elog.prove(TINY, place, statement, elog.Witness(y=item.k + 1, lam=item.a), self.ctx.rng)
        return [delta, Delta, S, psi.to_value()]


ROUND_3 = [
    # 1
    Cheat("delta is q", OutOfDomain, "presign.r3.item0.delta", ALL, (says3(DELTA, Q),)),
    Cheat("delta past q", OutOfDomain, "presign.r3.item0.delta", ALL, (says3(DELTA, (1 << 32) - 1),)),
    Cheat("Delta_i is O", BadPoint, "presign.r3.item0.Delta", ALL, (says3(DELTA_POINT, O),)),
    # 2
    Cheat(
        "Delta_i with another k", ProofInvalid, "presign.r3.item0.elog:u*G + z*X = N + e*M", ALL,
        program=cheating(AnotherDelta),
    ),
    Cheat(
        "elog with z + 1 in round 3", ProofInvalid, "presign.r3.item0.elog:z*G = A + e*L", ALL,
        (says3(PSI3, lambda psi: changed(psi, 3, lambda z: (z + 1) % Q)),),
    ),
    Cheat(
        "elog with z + q in round 3", OutOfDomain, "presign.r3.item0.elog:z range", ALL,
        (says3(PSI3, lambda psi: changed(psi, 3, lambda z: z + Q)),),
    ),
    *(
        Cheat(
            f"elog of {name} in round 3", ProofInvalid, "presign.r3.item0.elog:z*G = A + e*L", ALL,
            program=cheating(elsewhere("open_masks", "delta", change)),
        )
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip


@pytest.mark.attack("A4")
@pytest.mark.attack("C1")
@pytest.mark.parametrize("cheat", ROUND_3, ids=lambda cheat: cheat.id)
def test_every_lie_is_caught(cheat: Cheat) -> None:
    assert_caught(cheat, CHEATER, run)


@pytest.mark.attack("C11")
@pytest.mark.parametrize(
    ("round_", "change"),
    [
        # h of party 1 is nobody else's business: only the echo shows that party 3 got another one.
        pytest.param(2, lambda items: [changed(items[0], H, lambda h: [b"h" * 32, h[1]])], id="h"),
        pytest.param(3, lambda value: [[changed(value[0][0], S_I, lambda S: S + G)], value[1]], id="S"),
        pytest.param(
            3, lambda value: [[changed(value[0][0], DELTA, lambda d: (d + 1) % Q)], value[1]], id="delta"
        ),
    ],
)
def test_two_versions_of_rounds_2_and_3(round_: int, change: Any) -> None:
    outcomes = run(seed=round_, tamper={CHEATER: [says(round_, change, only_to=3)]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check=f"presign.r{round_}.msg", by=ALL)


@pytest.mark.attack("C11")
def test_two_entropies_in_full_signing() -> None:
    """The blocking echo of round 3 fixes all e_j before any sigma is made (protocol.md 3.4)."""
    rule = says(3, lambda value: [value[0], b"e" * 32], only_to=3)
    outcomes = SIGNERS.full_sign(REQUEST, tamper={CHEATER: [rule]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check="full-sign.r3.msg", by=ALL)
    assert not any(durable(node) for node in outcomes.honest)


class TestBugsOfOurs:
    """Identities that honest values always satisfy are checked all the same; nobody is blamed for them."""

    def test_k_that_changes_on_the_way(self) -> None:
        class Forgetful(Presigning):
            def finish(self, item: Item, *rest: Any) -> Any:
                item.k += 1
                return super().finish(item, *rest)

        outcomes = run(programs={CHEATER: cheating(Forgetful)})
        assert isinstance(outcomes[CHEATER].error, InternalError)
        assert "Delta" in str(outcomes[CHEATER].error)

    def test_rounds_out_of_order(self) -> None:
        seen: list[InternalError] = []

        class Hasty(Presigning):
            def open_masks(self, item: Item, received: Any) -> Any:
                for step in (
                    lambda: self.check_round3(item, 0, holder(1), [1, G, G, [G, G, G, 1, 1]]),
                    lambda: self.finish(item, 0, {}, Transcript((), ())),
                    lambda: presign._case(self, item, 0, "delta", [], {}, {}),
                ):
                    with pytest.raises(InternalError) as caught:
                        step()
                    seen.append(caught.value)
                return super().open_masks(item, received)

        run(programs={CHEATER: cheating(Hasty)}).results()
        assert len(seen) == 3
