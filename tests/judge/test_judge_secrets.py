"""No evidence holds a secret of an honest party, whatever the lie was that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from cggmp24_cheating import reports
from cggmp24_testing import primes_of, said
from judging_testing import CASES, CHEATER, SIGNERS, Case
from tss_testing import TINY

from tss.cggmp24.presign import Presigning
from tss.envelope import Body
from tss.errors import PeerFault


def written(secrets: Iterable[int | bytes]) -> list[bytes]:
    """Secrets as ENC holds them: bytes as they are, numbers without leading zeros."""
    return [
        secret
        if isinstance(secret, bytes)
        else int(abs(secret)).to_bytes((int(abs(secret)).bit_length() + 7) // 8, "big")
        for secret in secrets
    ]


def told_shares(bodies: list[Body], honest: list[int]) -> list[int | bytes]:
    """What honest parties told each other, and the cheater, in round 2 of a key generation."""
    found: list[int | bytes] = []
    for sender in honest:
        for recipient in {1, 2, 3} - {sender}:
            if any((b.sender.index, b.round, b.to is not None) == (sender, 2, True) for b in bodies):
                found += said(bodies, sender, 2, to=recipient)
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nothing_secret_is_in_the_evidence(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[Body] = []
    secrets: list[int | bytes] = []
    draw, mask = Presigning.draw, Presigning.mask

    def drawn(self: Any, k: int) -> Any:
        item = draw(self, k)
        if self.ctx.me.index != CHEATER:
            secrets.extend((item.k, item.gamma, item.a, item.b, int(item.rho), int(item.nu), self.x))
        return item

    def masked(self: Any, item: Any, j: Any) -> Any:
        made = mask(self, item, j)
        if self.ctx.me.index != CHEATER:
            secrets.extend(map(int, (made.y, made.y_hat, made.s, made.r, made.s_hat, made.r_hat)))
        return made

    monkeypatch.setattr(Presigning, "draw", drawn)
    monkeypatch.setattr(Presigning, "mask", masked)
    outcomes = case.run(seed=("secrets", case.check), drop=reports, bodies=bodies)
    honest = [node.party.index for node in outcomes.honest]
    kind = case.check.split(".")[0]
    if kind == "keygen":
        secrets += told_shares(bodies, honest)
    elif kind == "aux":
        secrets += [prime for j in honest for prime in primes_of(TINY, 3)[j]]
    else:
        for j in honest:
            aux = SIGNERS.aux[j]
            assert aux.pedersen is not None
            secrets += [SIGNERS.shares[j].x, int(aux.paillier.p), int(aux.paillier.q_)]
            secrets += [int(aux.pedersen.p), int(aux.pedersen.q_), int(aux.pedersen.lam)]
    assert secrets or case.check == "keygen.r1.msg"
    for node in outcomes.honest:
        if isinstance(node.error, PeerFault):
            assert node.error.evidence is not None
            for secret in written(secrets):
                assert secret not in node.error.evidence
