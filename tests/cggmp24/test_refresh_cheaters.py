"""Key refresh with one malicious party (protocol.md 2.2, 7): a lie for every check, and who sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from cggmp24_testing import dealt_key, primes_of, refresh_program, run_refresh
from session_testing import LEADING_ZERO, NEGATIVE_ZERO, Raw, says, tells
from tss_testing import TINY, TINY_WITHOUT_AUX

from tss.cggmp24 import refresh
from tss.cggmp24.completion import Certificate
from tss.cggmp24.presignature import item_sid
from tss.effects import Effect, Protocol, Send, SessionContext
from tss.envelope import Kind, holder
from tss.errors import (
    BadDecommit,
    BadModulusSize,
    BadPedersen,
    BadPoint,
    BadShare,
    Equivocation,
    InternalError,
    OutOfDomain,
    ProofInvalid,
    SchemaViolation,
    SessionMismatch,
    SharedPrime,
    WrongLength,
)
from tss.records import KeyShare
from tss.vss import Polynomial
from tss.zk import sch

N, CHEATER = 4, 2
ALL = (1, 3, 4)
GROUP, Q, G = TINY.group, TINY.group.q, TINY.group.G
FROST = TINY_WITHOUT_AUX
KEYS = [dealt_key(FROST, N, 3), dealt_key(FROST, N, 2, seed=1)]
"""Two accounts, of thresholds 3 and 2."""
PRIMES = primes_of(TINY, N)
OFF_CURVE = Raw(bytes([4]) + (5).to_bytes(4, "big") + b"\x02\xff\xff\xff\xff")

# Places in round 2: without aux rho, u, sharings; with it seven values before them.
RHO, U, SHARINGS = range(3)
# Without aux a party draws rho, u; then of each account its coefficients and its nonce.
G1, G2, A1, H1, A2 = 2, 3, 4, 5, 6

WITH = [dealt_key(TINY, N, 3), dealt_key(TINY, N, 2, seed=1)]
"""Their like, with auxiliary information."""
SHARES = [key[CHEATER] for key in KEYS]
honest = refresh_program(SHARES, None)
with_aux = refresh_program([key[CHEATER] for key in WITH], PRIMES[CHEATER])


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


def in_sharing(account: int, place: int, new: Any) -> Callable[[Any], Any]:
    """A change of [C, A] of one account in what round 2 reveals."""
    return lambda reveal: changed(
        reveal, -1, lambda accounts: changed(accounts, account, lambda one: changed(one, place, new))
    )


def reveals(change: Callable[[Any], Any]) -> tuple[Any, ...]:
    return (says(2, change),)


def announced(change: Callable[[Any], Any], program: Any = honest) -> dict[str, Any]:
    """Commits to a false value in round 1 and reveals it in round 2: the hash holds."""

    def hashed(values: tuple[Any, ...]) -> Any:
        return [*values[:2], *change(list(values[2:]))] if values[1] == CHEATER else values

    return {"tamper": (says(2, change),), "program": lying(program, hashes={"refresh-commit": hashed})}


def gives(account: int, new: Any, to: int = 3) -> tuple[Any, ...]:
    return (tells(2, lambda dealt: changed(dealt, account, new), to=to),)


def proves(account: int, change: Callable[[Any], Any]) -> tuple[Any, ...]:
    return (says(3, lambda value: [*value[:-1], changed(value[-1], account, change)]),)


def other_byte(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def constant(value: int) -> Callable[[SessionContext], Protocol[Any]]:
    """Deals a polynomial with g(0) = `value` and says nothing of its constant term: it moves the key."""

    def change(effect: Effect, own: Mapping[str, Any]) -> Effect:
        if not (isinstance(effect, Send) and effect.round == 2):
            return effect
        p2p = {j: [(d + value) % Q for d in dealt] for j, dealt in effect.p2p.items()}
        return replace(effect, p2p=p2p)

    return meddling(honest, change)


def hidden_constant(effect: Effect, own: Mapping[str, Any]) -> Effect:
    """Deals to party 1 alone a sharing of 1: g + 1, whose value at 1 is that of the polynomial with g_1 + 1."""
    if not (isinstance(effect, Send) and effect.round == 2):
        return effect
    g: Polynomial = own["dealings"][0].g
    return replace(effect, p2p={**effect.p2p, holder(1): [g.evaluate(1) + 1, *effect.p2p[holder(1)][1:]]})


def shares_of_others(effect: Effect, _own: Mapping[str, Any]) -> Effect:
    """Parties 3 and 4 each get the other's share."""
    if not (isinstance(effect, Send) and effect.round == 2):
        return effect
    return replace(
        effect, p2p={**effect.p2p, holder(3): effect.p2p[holder(4)], holder(4): effect.p2p[holder(3)]}
    )


def accounts_exchanged(effect: Effect, _own: Mapping[str, Any]) -> Effect:
    if not (isinstance(effect, Send) and effect.round == 2):
        return effect
    return replace(effect, p2p={j: list(reversed(dealt)) for j, dealt in effect.p2p.items()})


def another_nonce(effect: Effect, own: Mapping[str, Any]) -> Effect:
    """A proof that is valid but for its A, which is not the one of round 2."""
    if not (isinstance(effect, Send) and effect.round == 3):
        return effect
    ctx: SessionContext = own["ctx"]
    share: KeyShare = own["new_shares"][1]
    place = ctx.proof("refresh-share", ctx.me, rid=own["rid"], sid=item_sid(ctx, 1))
    proof = sch.prove(
        FROST, place, sch.Statement(share.public_shares[CHEATER]), sch.Witness(share.x), ctx.rng
    )
    return replace(effect, broadcast=[[effect.broadcast[0][0], proof.to_value()]])


def schema(
    what: str, by: tuple[int, ...], *tamper: Any, round_: int = 2, error: Any = SchemaViolation
) -> Cheat:
    return Cheat(what, error, f"refresh.r{round_}.schema", by, tamper)


MESSAGES = [
    schema("V of 31 bytes", ALL, says(1, lambda V: V[1:]), round_=1),
    schema("rho of 33 bytes", ALL, says(2, lambda v: changed(v, RHO, b"r" * 33))),
    schema("u of 31 bytes", ALL, says(2, lambda v: changed(v, U, b"u" * 31))),
    schema("an account less", ALL, says(2, lambda v: changed(v, SHARINGS, v[SHARINGS][:1]))),
    schema("an account more", ALL, says(2, lambda v: changed(v, SHARINGS, v[SHARINGS] + v[SHARINGS][:1]))),
    schema("17 coefficients", ALL, *reveals(in_sharing(0, 0, [G] * 17))),
    schema("a coefficient off the curve", ALL, *reveals(in_sharing(1, 0, [OFF_CURVE])), error=BadPoint),
    schema("A off the curve", ALL, *reveals(in_sharing(1, 1, OFF_CURVE)), error=BadPoint),
    schema("parameters where none are due", ALL, says(2, lambda v: [15, 15, 2, 2, *v])),
    schema("a share less", (3,), tells(2, lambda dealt: dealt[:1], to=3)),
    schema("a share more", (3,), tells(2, lambda dealt: [*dealt, 1], to=3)),
    schema("a negative share", (3,), *gives(0, lambda d: d - Q)),
    schema("a share that is negative zero", (3,), *gives(0, NEGATIVE_ZERO)),
    schema("a share with a leading zero", (3,), *gives(1, LEADING_ZERO)),
    schema("a share of more bits than q", (3,), *gives(1, 1 << Q.bit_length())),
    schema("a proof less", ALL, says(3, lambda v: [v[0][:1]]), round_=3),
    schema("a proof more", ALL, says(3, lambda v: [v[0] + v[0][:1]]), round_=3),
    schema("z with a leading zero", ALL, *proves(0, lambda psi: [psi[0], LEADING_ZERO]), round_=3),
]

CHECKS = [
    Cheat("V of something else", BadDecommit, "refresh.r2.decommit", ALL, (says(1, lambda _: b"V" * 32),)),
    *(
        Cheat(f"another {name}", BadDecommit, "refresh.r2.decommit", ALL, reveals(change))
        for name, change in (
            ("rho", lambda v: changed(v, RHO, other_byte)),
            ("u", lambda v: changed(v, U, other_byte)),
            ("coefficient", in_sharing(0, 0, lambda C: [C[0], C[1] + G])),
            ("coefficient of the second account", in_sharing(1, 0, lambda C: [C[0] + G])),
            ("A", in_sharing(0, 1, lambda A: A + G)),
            ("A of the second account", in_sharing(1, 1, lambda A: A + G)),
        )
    ),
    *(
        Cheat(
            f"V {name}", BadDecommit, "refresh.r2.decommit", ALL,
            program=lying(
                honest, hashes={"refresh-commit": lambda v, put=put: (*put, *v[2:]) if v[1] == CHEATER else v}
            ),
        )
        for name, put in (("of another session", (b"\0" * 32, CHEATER)), ("of another party", (b"\0" * 32, 1)))
    ),
    Cheat("t-2 points", WrongLength, "refresh.r2.length", ALL, **announced(in_sharing(0, 0, lambda C: C[:1]))),
    Cheat("t points", WrongLength, "refresh.r2.length", ALL, **announced(in_sharing(0, 0, lambda C: [*C, G]))),
    Cheat(
        "t points, the first of them of a constant term", WrongLength, "refresh.r2.length", ALL,
        **announced(in_sharing(1, 0, lambda C: [G, *C])),
    ),
    Cheat("no points", WrongLength, "refresh.r2.length", ALL, **announced(in_sharing(1, 0, []))),
    *(
        Cheat(
            f"{name} is O", BadPoint, "refresh.r2.coefficient", ALL,
            program=lying(honest, rng=loaded({draw: word(0)})),
        )
        for name, draw in (("C_1", G1), ("C_2", G2), ("C_1 of the second account", H1))
    ),
    *(
        Cheat(
            f"A of the {name} account is O", BadPoint, "refresh.r2.A", ALL,
            program=lying(honest, rng=loaded({draw: word(0)})),
        )
        for name, draw in (("first", A1), ("second", A2))
    ),
    Cheat("g(0) is not 0", BadShare, "refresh.r2.share", ALL, program=constant(1)),
    Cheat("g(0) is -x", BadShare, "refresh.r2.share", ALL, program=constant(Q - SHARES[0].x)),
    Cheat("g(0) is not 0 for one", BadShare, "refresh.r2.share", (1,), program=meddling(honest, hidden_constant)),
    Cheat("a share off by one", BadShare, "refresh.r2.share", (3,), gives(0, lambda d: (d + 1) % Q)),
    Cheat("of the second account", BadShare, "refresh.r2.share", (4,), gives(1, lambda d: (d + 1) % Q, to=4)),
    Cheat("the share 0", BadShare, "refresh.r2.share", (1,), gives(1, 0, to=1)),
    Cheat("shares of another index", BadShare, "refresh.r2.share", (3, 4), program=meddling(honest, shares_of_others)),
    Cheat("accounts exchanged", BadShare, "refresh.r2.share", ALL, program=meddling(honest, accounts_exchanged)),
    # g(1) = 1 + 1, and 2 + q has no more bits than q.
    Cheat(
        "a share that is not reduced", BadShare, "refresh.r2.share", (1,), gives(0, 2 + Q, to=1),
        program=lying(honest, rng=loaded({G1: word(1), G2: word(1)})),
    ),
    Cheat(
        "A is not the one of round 2", ProofInvalid, "refresh.r3.sch:A is the one of round 2", ALL,
        program=meddling(honest, another_nonce),
    ),
    *(
        Cheat(
            f"z + 1 of account {k}", ProofInvalid, "refresh.r3.sch:z*G = A + e*X", ALL,
            proves(k, lambda psi: [psi[0], (psi[1] + 1) % Q]),
        )
        for k in (0, 1)
    ),
    Cheat(
        "z + q", OutOfDomain, "refresh.r3.sch:z range", ALL,
        proves(1, lambda psi: [psi[0], psi[1] + Q]),
    ),
    *(
        Cheat(
            f"the proof is of {name}", ProofInvalid, "refresh.r3.sch:z*G = A + e*X", ALL,
            program=lying(honest, proofs={"refresh-share": change}),
        )
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip


@pytest.mark.attack("A4")
@pytest.mark.attack("A7")
@pytest.mark.attack("C1")
@pytest.mark.attack("C4")
@pytest.mark.attack("C6")
@pytest.mark.attack("C9")
@pytest.mark.parametrize("cheat", [*MESSAGES, *CHECKS], ids=lambda cheat: cheat.id)
def test_every_lie_is_caught(cheat: Cheat) -> None:
    outcomes = assert_caught(cheat, CHEATER, partial(run_refresh, KEYS))
    assert not any(durable(outcomes[index]) for index in cheat.by)


def parameters(change: Callable[[Any], Any]) -> dict[str, Any]:
    return announced(change, with_aux)


# The places of what 2.1 reveals.
MODULUS, N_HAT, S, T, PSI = range(5)
WITH_AUX = [
    Cheat("another N", BadDecommit, "refresh.r2.decommit", ALL, reveals(lambda v: changed(v, MODULUS, v[0] + 2))),
    Cheat("N is even", BadModulusSize, "refresh.r2.N", ALL, **parameters(lambda v: changed(v, MODULUS, v[0] + 1))),
    Cheat("N^ is N", BadPedersen, "refresh.r2.gcd", ALL, **parameters(lambda v: changed(v, N_HAT, v[0]))),
    Cheat("s is 1", BadPedersen, "refresh.r2.ring-pedersen", ALL, **parameters(lambda v: changed(v, S, 1))),
    Cheat(
        "A of prm is 0", OutOfDomain, "refresh.r2.prm:A unit", ALL,
        **parameters(lambda v: changed(v, PSI, lambda psi: [[0, *psi[0][1:]], psi[1]])),
    ),
    Cheat("C is O", BadPoint, "refresh.r2.coefficient", ALL, **parameters(in_sharing(0, 0, lambda C: [C[0], C[1] - C[1]]))),
    Cheat("a share off by one, with aux", BadShare, "refresh.r2.share", (3,), gives(0, lambda d: (d + 1) % Q)),
    Cheat("w is 0", ProofInvalid, "refresh.r3.mod:w unit", ALL, (says(3, lambda v: [[0, v[0][1]], v[1]]),)),
    Cheat(
        "another root", ProofInvalid, "refresh.r3.mod:z^N = y", ALL,
        (says(3, lambda v: [[v[0][0], [*v[0][1][:-1], changed(v[0][1][-1], 3, lambda z: z + 1)]], v[1]]),),
    ),
    Cheat("P of fac is 0", OutOfDomain, "refresh.r3.fac:P unit", (1,), (tells(3, lambda v: changed(v, 0, 0), to=1),)),
    Cheat("z + 1 with aux", ProofInvalid, "refresh.r3.sch:z*G = A + e*X", ALL, proves(1, lambda p: [p[0], (p[1] + 1) % Q])),
    *(
        Cheat(
            f"{label} of another rid", ProofInvalid, f"refresh.{check}", ALL,
            program=lying(with_aux, proofs={label: MISPLACED["another rid"]}),
        )
        for label, check in (("mod", "r3.mod:z^N = y"), ("fac", "r3.fac:s^z1 t^w1 = A*P^e"), ("prm", "r2.prm:t^z = A*s^e"))
    ),
]  # fmt: skip


@pytest.mark.attack("B1")
@pytest.mark.attack("B4")
@pytest.mark.attack("C6")
@pytest.mark.parametrize("cheat", WITH_AUX, ids=lambda cheat: cheat.id)
def test_every_lie_about_new_parameters_is_caught(cheat: Cheat) -> None:
    outcomes = assert_caught(cheat, CHEATER, partial(run_refresh, WITH))
    assert not any(durable(outcomes[index]) for index in cheat.by)


def test_a_prime_of_two_parties_ends_the_run_without_blame() -> None:
    primes = dict(PRIMES)
    primes[3] = primes[1]
    outcomes = run_refresh(WITH, "shared", primes=primes, drop=reports)
    outcomes.assert_no_blame(SharedPrime)


@pytest.mark.attack("C11")
@pytest.mark.parametrize(
    ("round_", "change"),
    [
        pytest.param(1, lambda _: b"V" * 32, id="V"),
        pytest.param(2, lambda v: changed(v, RHO, other_byte), id="reveal"),
        pytest.param(3, lambda v: [[changed(v[0][0], 1, 1), v[0][1]]], id="psi"),
    ],
)
def test_two_versions_of_a_broadcast(round_: int, change: Any) -> None:
    """Also rounds 1 and 3, whose echo blocks; a reveal that one party got is refused by it at once."""
    outcomes = run_refresh(KEYS, ("echo", round_), tamper={CHEATER: [says(round_, change, only_to=3)]})
    accusers = [node for node in outcomes.honest if node.blamed is not None]
    assert {node.blamed for node in accusers} == {CHEATER}
    kinds = {type(node.error) for node in accusers}
    assert kinds == {Equivocation} or (round_ == 2 and kinds <= {Equivocation, BadDecommit})


@pytest.mark.attack("C8")
def test_a_done_to_another_result_activates_nothing() -> None:
    """What one party alone says it has made is no epoch: the old one stays (protocol.md 0.8)."""
    lie = says(15, other_byte, kind=Kind.DONE)
    outcomes = run_refresh(KEYS, "done", tamper={CHEATER: [lie]})
    outcomes.assert_no_blame(SessionMismatch)
    for node in outcomes.honest:
        assert durable(node), "the pending state stays"
        assert not any(isinstance(record, Certificate) for record in node.records)


@pytest.mark.attack("C8")
def test_a_done_that_one_party_does_not_hear_leaves_it_pending() -> None:
    """The others hold the certificate, with which it catches up."""
    outcomes = run_refresh(
        KEYS, "withheld", cheaters=[CHEATER],
        drop=lambda posted: posted.kind is Kind.DONE and posted.sender == holder(CHEATER) and posted.recipient == holder(3),
    )  # fmt: skip
    for node in outcomes.honest:
        (state,) = durable(node)
        complete = any(isinstance(record, Certificate) for record in node.records)
        assert complete == (node.party != holder(3))
        assert state.done == durable(outcomes[1])[0].done


def test_a_lie_that_no_check_sees_still_gives_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "check_share", lambda *_, **__: None)
    lie = tells(2, lambda v: [(v[0] + 1) % Q, *v[1:]], to=3)
    outcomes = run_refresh(KEYS, "unseen", tamper={CHEATER: [lie]})
    assert type(outcomes[3].error) is InternalError
    assert not durable(outcomes[3])
    assert not any(isinstance(record, Certificate) for node in outcomes.honest for record in node.records)
