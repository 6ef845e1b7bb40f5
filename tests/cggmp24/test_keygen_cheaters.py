"""Key generation with one malicious party (protocol.md 1, 7): a lie for every check, and who sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cggmp24_cheating import (
    MISPLACED,
    Cheat,
    assert_caught,
    changed,
    durable,
    loaded,
    lying,
    meddling,
    reports,
)
from cggmp24_testing import run_keygen
from session_testing import LEADING_ZERO, NEGATIVE_ZERO, Raw, says, tells
from tss_testing import TINY

from tss.cggmp24 import keygen
from tss.cggmp24.completion import Certificate
from tss.effects import Echo, Effect, Protocol, Receive, Send, SessionContext
from tss.encoding import Bytes, Integer, ListOf, PointOf, Tuple
from tss.envelope import Kind, holder
from tss.errors import (
    BadDecommit,
    BadPoint,
    BadShare,
    Equivocation,
    InternalError,
    OutOfDomain,
    ProofInvalid,
    SchemaViolation,
    SessionMismatch,
    WrongLength,
)
from tss.zk import sch

N, T, CHEATER = 4, 3, 2
ALL = (1, 3, 4)
GROUP, Q, G = TINY.group, TINY.group.q, TINY.group.G
OFF_CURVE = Raw(bytes([4]) + (5).to_bytes(4, "big") + b"\x02\xff\xff\xff\xff")

# The order in which a party draws: T coefficients, rid, c, u, w, the Schnorr nonce.
RID, SCHNORR = T, T + 4
# What round 2 reveals to all, and tells each.
(RID_I, S_I, A_I, CC_I, U_I), (SIGMA, C_I, W_I) = range(5), range(3)


def honest(ctx: SessionContext) -> Protocol[Any]:
    return keygen.keygen(ctx, T)


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


def reveals(place: int, new: Any) -> tuple[Any, ...]:
    return (says(2, lambda value: changed(value, place, new)),)


def gives(place: int, new: Any, to: int = 3) -> tuple[Any, ...]:
    return (tells(2, lambda value: changed(value, place, new), to=to),)


def other_byte(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def another_nonce(effect: Effect, own: Mapping[str, Any]) -> Effect:
    """A proof that is valid but for its A, which is not the one of round 2."""
    if not (isinstance(effect, Send) and effect.round == 3):
        return effect
    ctx = own["ctx"]
    place, statement = ctx.proof("keygen-share", ctx.me, rid=own["rid"]), sch.Statement(own["X_j"][CHEATER])
    proof = sch.prove(TINY, place, statement, sch.Witness(own["x_i"]), ctx.rng)
    return replace(effect, broadcast=proof.to_value())


def shares_of_others(effect: Effect, _own: Mapping[str, Any]) -> Effect:
    """Parties 3 and 4 each get the other's share."""
    if not (isinstance(effect, Send) and effect.round == 2):
        return effect
    p2p = dict(effect.p2p)
    p2p[holder(3)], p2p[holder(4)] = p2p[holder(4)], p2p[holder(3)]
    return replace(effect, p2p=p2p)


def schema(
    what: str, by: tuple[int, ...], *tamper: Any, round_: int = 2, error: Any = SchemaViolation
) -> Cheat:
    return Cheat(what, error, f"keygen.r{round_}.schema", by, tamper)


MESSAGES = [
    schema("V of 31 bytes", ALL, says(1, lambda V: V[1:]), round_=1),
    schema("V is an integer", ALL, says(1, lambda _: 5), round_=1),
    *(
        schema(f"{name} of {size} bytes", ALL, *reveals(place, b"x" * size))
        for name, place in (("rid", RID_I), ("cc", CC_I), ("u", U_I))
        for size in (31, 33)
    ),
    schema("a reveal without u", ALL, says(2, lambda value: value[:-1])),
    schema("17 coefficients", ALL, *reveals(S_I, [G] * 17)),
    schema(
        "a coefficient off the curve", ALL, *reveals(S_I, lambda S: [S[0], S[1], OFF_CURVE]), error=BadPoint
    ),
    schema("A off the curve", ALL, *reveals(A_I, OFF_CURVE), error=BadPoint),
    schema("c of 31 bytes", (3,), *gives(C_I, b"x" * 31)),
    schema("w of 33 bytes", (3,), *gives(W_I, b"x" * 33)),
    schema("a negative share", (3,), *gives(SIGMA, lambda sigma: sigma - Q)),
    schema("a share of more bits than q", (3,), *gives(SIGMA, 1 << Q.bit_length())),
    schema("a share that is negative zero", (3,), *gives(SIGMA, NEGATIVE_ZERO)),
    schema("a share with a leading zero", (3,), *gives(SIGMA, LEADING_ZERO)),
    schema("z with a leading zero", ALL, says(3, lambda value: [value[0], LEADING_ZERO]), round_=3),
    schema("a proof without z", ALL, says(3, lambda value: value[:1]), round_=3),
]

CHECKS = [
    # 1
    Cheat("t-1 points", WrongLength, "keygen.r2.length", ALL, program=lambda ctx: keygen.keygen(ctx, T - 1)),
    Cheat("t+1 points", WrongLength, "keygen.r2.length", ALL, program=lambda ctx: keygen.keygen(ctx, T + 1)),
    Cheat("no points", WrongLength, "keygen.r2.length", ALL, reveals(S_I, [])),
    *(
        Cheat(
            f"coefficient {k} is O", BadPoint, "keygen.r2.coefficient", ALL,
            program=lying(honest, rng=loaded({k: word(0)})),
        )
        for k in range(T)
    ),
    Cheat(
        "A is O", BadPoint, "keygen.r2.A", ALL,
        program=lying(honest, rng=loaded({SCHNORR: word(0)})),
    ),
    # 2
    Cheat("V of something else", BadDecommit, "keygen.r2.decommit", ALL, (says(1, lambda _: b"V" * 32),)),
    Cheat("another rid", BadDecommit, "keygen.r2.decommit", ALL, reveals(RID_I, other_byte)),
    *(
        Cheat(
            f"another coefficient {k}", BadDecommit, "keygen.r2.decommit", ALL,
            reveals(S_I, lambda S, k=k: changed(S, k, S[k] + G)),
        )
        for k in range(T)
    ),
    Cheat("another A", BadDecommit, "keygen.r2.decommit", ALL, reveals(A_I, lambda A: A + G)),
    Cheat("another cc", BadDecommit, "keygen.r2.decommit", ALL, reveals(CC_I, other_byte)),
    Cheat("another u", BadDecommit, "keygen.r2.decommit", ALL, reveals(U_I, other_byte)),
    Cheat(
        "V without the sid", BadDecommit, "keygen.r2.decommit", ALL,
        program=lying(honest, hashes={"keygen-commit": lambda v: (b"\0" * 32, *v[1:])}),
    ),
    Cheat(
        "V of another party", BadDecommit, "keygen.r2.decommit", ALL,
        program=lying(honest, hashes={"keygen-commit": lambda v: (v[0], 1, *v[2:]) if v[1] == CHEATER else v}),
    ),
    # 3
    Cheat("a share off by one", BadShare, "keygen.r2.share", (3,), gives(SIGMA, lambda sigma: (sigma + 1) % Q)),
    Cheat("the share 0", BadShare, "keygen.r2.share", (4,), gives(SIGMA, 0, to=4)),
    Cheat("shares for another index", BadShare, "keygen.r2.share", (3, 4), program=meddling(honest, shares_of_others)),
    # f(1) = 1 + 1 + 1, and 3 + q has no more bits than q.
    Cheat(
        "a share that is not reduced", BadShare, "keygen.r2.share", (1,), gives(SIGMA, 3 + Q, to=1),
        program=lying(honest, rng=loaded({k: word(1) for k in range(T)})),
    ),
    Cheat("a chain-code share of its own for one", BadDecommit, "keygen.r2.chain code", (3,), gives(C_I, other_byte)),
    Cheat("another w for one", BadDecommit, "keygen.r2.chain code", (4,), gives(W_I, other_byte, to=4)),
    Cheat(
        "cc of another party", BadDecommit, "keygen.r2.chain code", ALL,
        program=lying(honest, hashes={"cc": lambda v: (v[0], 1, *v[2:]) if v[1] == CHEATER else v}),
    ),
    Cheat(
        "cc without the sid", BadDecommit, "keygen.r2.chain code", ALL,
        program=lying(honest, hashes={"cc": lambda v: (b"\0" * 32, *v[1:]) if v[1] == CHEATER else v}),
    ),
    # Round 3
    Cheat(
        "A is not the one of round 2", ProofInvalid, "keygen.r3.sch:A is the one of round 2", ALL,
        program=meddling(honest, another_nonce),
    ),
    Cheat("z + 1", ProofInvalid, "keygen.r3.sch:z*G = A + e*X", ALL, (says(3, lambda v: [v[0], (v[1] + 1) % Q]),)),
    Cheat("z + q", OutOfDomain, "keygen.r3.sch:z range", ALL, (says(3, lambda v: [v[0], v[1] + Q]),)),
    *(
        Cheat(
            f"the proof is of {name}", ProofInvalid, "keygen.r3.sch:z*G = A + e*X", ALL,
            program=lying(honest, proofs={"keygen-share": change}),
        )
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip


@pytest.mark.attack("A4")
@pytest.mark.attack("C1")
@pytest.mark.attack("C4")
@pytest.mark.attack("C5")
@pytest.mark.attack("C7")
@pytest.mark.parametrize("cheat", [*MESSAGES, *CHECKS], ids=lambda cheat: cheat.id)
def test_every_lie_is_caught(cheat: Cheat) -> None:
    outcomes = assert_caught(cheat, CHEATER, partial(run_keygen, N, T))
    assert not any(durable(outcomes[index]) for index in cheat.by)


@pytest.mark.attack("C11")
@pytest.mark.parametrize(
    ("round_", "change"),
    [
        pytest.param(1, lambda _: b"V" * 32, id="V"),
        pytest.param(3, lambda value: [value[0], (value[1] + 1) % Q], id="psi"),
    ],
)
def test_two_versions_of_a_broadcast(round_: int, change: Any) -> None:
    """The echo of rounds 1 and 3 blocks: everybody holds both versions before anything depends on them."""
    outcomes = run_keygen(N, T, "echo", tamper={CHEATER: [says(round_, change, only_to=3)]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check=f"keygen.r{round_}.msg", by=ALL)
    for index in ALL:
        versions = {
            b.payload
            for b in outcomes.evidence(index)
            if (b.sender.index, b.round, b.kind) == (2, round_, "msg")
        }
        assert len(versions) == 2
        assert not durable(outcomes[index])


@pytest.mark.attack("C11")
def test_two_versions_of_the_reveal() -> None:
    """V lets only one of them pass: who gets the other sees it without an echo, and the rest is told."""
    outcomes = run_keygen(
        N, T, 3, tamper={CHEATER: [says(2, lambda v: changed(v, U_I, other_byte), only_to=3)]}
    )
    assert outcomes[3].blamed == CHEATER
    assert isinstance(outcomes[3].error, (BadDecommit, Equivocation))
    assert not any(durable(node) for node in outcomes.honest)


@pytest.mark.attack("C7")
def test_a_copied_commitment_cannot_be_opened() -> None:
    """The cheater says what party 1 says, a moment later: V names its maker."""

    def copycat(ctx: SessionContext) -> Protocol[None]:
        seen = yield Receive(1, broadcast=Bytes(32), echo=Echo.NONE)
        yield Send(1, broadcast=seen[holder(1)].broadcast)
        yield Receive(1, broadcast=Bytes(32), echo=Echo.BLOCKING)
        reveal = Tuple(Bytes(32), ListOf(PointOf(GROUP), T), PointOf(GROUP), Bytes(32), Bytes(32))
        private = Tuple(Integer(64), Bytes(32), Bytes(32))
        r2 = yield Receive(2, broadcast=reveal, p2p=private, echo=Echo.NONE)
        mine = r2[holder(1)]
        yield Send(2, broadcast=mine.broadcast, p2p=dict.fromkeys(ctx.others, mine.p2p))

    cheat = Cheat("a copy", BadDecommit, "keygen.r2.decommit", ALL, program=copycat)
    assert_caught(cheat, CHEATER, partial(run_keygen, N, T))


@pytest.mark.attack("C8")
def test_done_to_another_result_blames_nobody() -> None:
    """Whoever hears it keeps its pending state and activates nothing; the others cannot tell and complete."""
    rule = says(15, lambda _: b"d" * 32, kind=Kind.DONE, only_to=3)
    outcomes = run_keygen(N, T, tamper={CHEATER: [rule]})
    assert isinstance(outcomes[3].error, SessionMismatch)
    assert len(durable(outcomes[3])) == 1
    assert not any(isinstance(record, Certificate) for record in outcomes[3].records)
    for index in (1, 4):
        assert outcomes[index].error is None
        assert isinstance(outcomes[index].records[-1], Certificate)


@pytest.mark.attack("C4")
def test_a_lie_that_no_check_sees_still_gives_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were Feldman's check to miss a false share, the sum would not match X_i: a bug of ours, and no result."""
    monkeypatch.setattr(keygen, "check_share", lambda *_: None)
    tamper = {CHEATER: [tells(2, lambda v: changed(v, SIGMA, lambda s: (s + 1) % Q), to=3)]}
    outcomes = run_keygen(N, T, tamper=tamper)
    assert type(outcomes[3].error) is InternalError
    assert not any(durable(node) for node in outcomes.honest)
