"""Key generation for FROST (protocol.md 6.2): honest runs, and one malicious party with a lie for every check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

import pytest
from cggmp24_cheating import Cheat, assert_caught, changed, durable, loaded, lying, meddling, reports
from cggmp24_testing import said, secret_of
from ed25519_encodings import BAD_ENCODINGS, IDENTITY
from frost_testing import run_dkg
from session_testing import LEADING_ZERO, NEGATIVE_ZERO, Raw, says, silent, tells

from tss.cggmp24.completion import Certificate
from tss.effects import Echo, Effect, Protocol, Receive, Send, SessionContext
from tss.encoding import Bytes
from tss.envelope import Kind, holder
from tss.errors import (
    BadDecommit,
    BadPoint,
    BadShare,
    CallerError,
    Degenerate,
    Equivocation,
    InternalError,
    OutOfDomain,
    ProofInvalid,
    SchemaViolation,
    SessionMismatch,
    ShareCorrupt,
    WrongLength,
)
from tss.frost import dkg
from tss.frost.ciphersuite import ED25519_SHA512
from tss.groups import ED25519
from tss.params import FROST_ED25519
from tss.records import KeyShare

N, T, CHEATER = 3, 2, 2
ALL = (1, 3)
Q, G = ED25519.q, ED25519.G
# The order in which a party draws: T coefficients, the nonce k, u.
NONCE = T
C_I, R_I, MU_I, U_I = range(4)
RANGE = "frost-keygen.r2.mu"


def honest(ctx: SessionContext) -> Protocol[Any]:
    return dkg.dkg(ctx, T)


def word(value: int) -> bytes:
    """The 32 bytes from which a scalar below L is drawn: its 253 bits, left-aligned."""
    return ((value % Q) << 3).to_bytes(32, "big")


def point(encoded: bytes) -> Raw:
    return Raw(bytes([ED25519.point_tag]) + len(encoded).to_bytes(4, "big") + encoded)


def reveals(place: int, new: Any) -> tuple[Any, ...]:
    return (says(2, lambda value: changed(value, place, new)),)


def gives(new: Any, to: int = 3) -> tuple[Any, ...]:
    return (tells(3, lambda value: new(value) if callable(new) else new, to=to),)


# -- honest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "t"), [(2, 2), (3, 2), (7, 4)])
def test_any_t_have_the_key_and_fewer_do_not(n: int, t: int) -> None:
    shares = run_dkg(n, t, ("honest", n, t)).results()
    X = shares[1].X
    for share in shares.values():
        share.check()
        assert (share.X, share.t, share.n, share.chain_code) == (X, t, n, b"")
        assert KeyShare.from_bytes(FROST_ED25519, share.to_bytes()) == share
    for signers in list(combinations(shares, t))[:6]:
        assert ED25519.mul_base(secret_of(shares, signers)) == X
    fewer = list(shares)[: t - 1]
    assert ED25519.mul_base(secret_of(shares, fewer)) != X
    assert len({share.key_id for share in shares.values()}) == 1
    assert len({share.share_epoch for share in shares.values()}) == 1


def test_a_share_with_a_chain_code_is_damaged() -> None:
    share = run_dkg(2, 2, "chain code").results()[1]
    with pytest.raises(ShareCorrupt, match="the chain code is 0 bytes"):
        replace(share, chain_code=b"c" * 32).check()
    with pytest.raises(ShareCorrupt):
        KeyShare.from_bytes(FROST_ED25519, replace(share, chain_code=b"c" * 32).to_bytes())


@pytest.mark.parametrize(("t", "n"), [(-1, 2), (1, 2), (3, 2), (2, 17)])
def test_impossible_thresholds_are_refused_before_anything_is_sent(t: int, n: int) -> None:
    outcomes = run_dkg(n, t)
    outcomes.assert_no_blame(CallerError)
    for node in outcomes.honest:
        assert not [body for body in node.bodies() if body.kind is Kind.MSG and body.round > 0]


def test_a_lost_done_leaves_pending_state_everywhere() -> None:
    outcomes = run_dkg(3, 2, drop=silent(3, kind=Kind.DONE))
    assert outcomes[3].error is None
    for index in (1, 2):
        assert len(durable(outcomes[index])) == 1
        assert not any(isinstance(record, Certificate) for record in outcomes[index].records)


def test_degenerate_keys_end_without_blame() -> None:
    for dice in (
        {1: {0: word(5)}, 2: {0: word(-5)}},
        {1: {0: word(5), 1: word(9)}, 2: {0: word(6), 1: word(-9)}},
    ):
        outcomes = run_dkg(2, 2, dice=dice, drop=reports)
        outcomes.assert_no_blame(Degenerate)
        assert not any(durable(node) for node in outcomes.honest)


def test_the_nonce_of_the_proof_is_never_0() -> None:
    """Drawn from [0, L-1) and moved by one: the smallest draw gives R = B."""
    bodies: list[Any] = []
    run_dkg(2, 2, dice={1: {0: word(5), 1: word(6), 2: word(0)}}, bodies=bodies).results()
    assert said(bodies, 1, 2, group=ED25519)[R_I] == G


# -- lies --------------------------------------------------------------------------------------------------------


def schema(
    what: str, by: tuple[int, ...], *tamper: Any, round_: int = 2, error: Any = SchemaViolation
) -> Cheat:
    return Cheat(what, error, f"frost-keygen.r{round_}.schema", by, tamper)


MESSAGES = [
    schema("V of 31 bytes", ALL, says(1, lambda V: V[1:]), round_=1),
    schema("V is an integer", ALL, says(1, lambda _: 5), round_=1),
    *(schema(f"u of {size} bytes", ALL, *reveals(U_I, b"x" * size)) for size in (31, 33)),
    schema("a reveal without u", ALL, says(2, lambda value: value[:-1])),
    schema("17 coefficients", ALL, *reveals(C_I, [G] * 17)),
    *(
        schema(f"a coefficient {name}", ALL, *reveals(C_I, lambda C, e=e: [C[0], point(e)]), error=BadPoint)
        for name, e in BAD_ENCODINGS.items()
    ),
    *(schema(f"R {name}", ALL, *reveals(R_I, point(e)), error=BadPoint) for name, e in BAD_ENCODINGS.items()),
    schema("a coefficient of 33 bytes", ALL, *reveals(C_I, lambda C: [C[0], point(bytes(33))])),
    schema("a negative mu", ALL, *reveals(MU_I, lambda mu: mu - Q)),
    schema("mu of more bits than L", ALL, *reveals(MU_I, 1 << 253)),
    schema("mu with a leading zero", ALL, *reveals(MU_I, LEADING_ZERO)),
    schema("a negative share", (3,), *gives(lambda f: f - Q), round_=3),
    schema("a share of more bits than L", (3,), *gives(1 << 253), round_=3),
    schema("a share that is negative zero", (3,), *gives(NEGATIVE_ZERO), round_=3),
    schema("a share with a leading zero", (3,), *gives(LEADING_ZERO), round_=3),
]


def proof_of(sid: Any = None, prover: int = CHEATER) -> Any:
    """A proof of possession that was made for another place, committed to as it is."""

    def start(ctx: SessionContext) -> Protocol[Any]:
        original = dkg.prove_possession

        def prove(context: Any, i: int, f_0: int, C_0: Any, rng: Any) -> Any:
            if context is ctx:
                place = replace(context, sid=sid or context.sid)
                return original(place, prover, f_0, C_0, rng)
            return original(context, i, f_0, C_0, rng)

        return _with(dkg, "prove_possession", prove, dkg.dkg(ctx, T))

    return start


def _with(module: Any, name: str, instead: Any, generator: Protocol[Any]) -> Protocol[Any]:
    """A generator in whose own steps a function of a module is another one."""
    result: Any = None
    while True:
        before = getattr(module, name)
        setattr(module, name, instead)
        try:
            effect = generator.send(result)
        except StopIteration as stop:
            return stop.value
        finally:
            setattr(module, name, before)
        result = yield effect


def committed(change: Any) -> Any:
    """A reveal that is changed before it is committed to."""

    def change_both(effect: Effect, own: Mapping[str, Any]) -> Effect:
        if not (isinstance(effect, Send) and effect.round in (1, 2)):
            return effect
        reveal = change(own["reveal_i"])
        return replace(
            effect,
            broadcast=dkg._commitment(own["ctx"], CHEATER, reveal) if effect.round == 1 else reveal,
        )

    return meddling(honest, change_both)


def shares_of_others(effect: Effect, _own: Mapping[str, Any]) -> Effect:
    """Parties 1 and 3 each get the other's share."""
    if not (isinstance(effect, Send) and effect.round == 3):
        return effect
    p2p = dict(effect.p2p)
    p2p[holder(1)], p2p[holder(3)] = p2p[holder(3)], p2p[holder(1)]
    return replace(effect, p2p=p2p)


POP = "frost-keygen.r2.pop:mu*B = R + c*C_0"
CHECKS = [
    Cheat("V of something else", BadDecommit, "frost-keygen.r2.decommit", ALL, (says(1, lambda _: b"V" * 32),)),
    *(
        Cheat(
            f"another coefficient {k}", BadDecommit, "frost-keygen.r2.decommit", ALL,
            reveals(C_I, lambda C, k=k: changed(C, k, C[k] + G)),
        )
        for k in range(T)
    ),
    Cheat("another R", BadDecommit, "frost-keygen.r2.decommit", ALL, reveals(R_I, lambda R: R + G)),
    Cheat("another mu", BadDecommit, "frost-keygen.r2.decommit", ALL, reveals(MU_I, lambda mu: (mu + 1) % Q)),
    Cheat("another u", BadDecommit, "frost-keygen.r2.decommit", ALL, reveals(U_I, b"x" * 32)),
    Cheat(
        "V without the sid", BadDecommit, "frost-keygen.r2.decommit", ALL,
        program=lying(honest, hashes={"frost-commit": lambda v: (b"\0" * 32, *v[1:]) if v[1] == CHEATER else v}),
    ),
    Cheat(
        "V of another party", BadDecommit, "frost-keygen.r2.decommit", ALL,
        program=lying(honest, hashes={"frost-commit": lambda v: (v[0], 1, *v[2:]) if v[1] == CHEATER else v}),
    ),
    *(
        Cheat(
            f"{name} points", WrongLength, "frost-keygen.r2.length", ALL,
            program=committed(lambda reveal, points=points: changed(reveal, C_I, points(reveal[C_I]))),
        )
        for name, points in (("t-1", lambda C: C[:-1]), ("t+1", lambda C: [*C, G]), ("no", lambda _: []))
    ),
    *(
        Cheat(
            f"coefficient {k} is O", BadPoint, "frost-keygen.r2.coefficient", ALL,
            program=lying(honest, rng=loaded({j: word(5 * (j != k)) for j in range(T)})),
        )
        for k in range(T)
    ),
    Cheat(
        "R is O", BadPoint, "frost-keygen.r2.R", ALL,
        program=committed(lambda reveal: changed(reveal, R_I, ED25519.identity)),
    ),
    # k = 1 and f_0 = 0 would give mu = 1: a small one, so that mu + L keeps its bits.
    Cheat(
        "mu is not reduced", OutOfDomain, RANGE, ALL,
        program=committed(lambda reveal: changed(reveal, MU_I, Q)),
    ),
    Cheat("mu + 1", ProofInvalid, POP, ALL, program=committed(lambda r: changed(r, MU_I, (r[MU_I] + 1) % Q))),
    Cheat("another C_0", ProofInvalid, POP, ALL, program=committed(lambda r: changed(r, C_I, [r[C_I][0] + G, *r[C_I][1:]]))),
    Cheat("another R, committed to", ProofInvalid, POP, ALL, program=committed(lambda r: changed(r, R_I, r[R_I] + G))),
    Cheat("a proof of another session", ProofInvalid, POP, ALL, program=proof_of(sid=b"\x11" * 32)),
    Cheat("a proof of another party", ProofInvalid, POP, ALL, program=proof_of(prover=1)),
    Cheat("a share off by one", BadShare, "frost-keygen.r3.share", (3,), gives(lambda f: (f + 1) % Q)),
    Cheat("the share 0", BadShare, "frost-keygen.r3.share", (1,), gives(0, to=1)),
    Cheat("shares for another index", BadShare, "frost-keygen.r3.share", ALL, program=meddling(honest, shares_of_others)),
    # f(1) = 1 + 1, and 2 + L has no more bits than L.
    Cheat(
        "a share that is not reduced", BadShare, "frost-keygen.r3.share", (1,), gives(2 + Q, to=1),
        program=lying(honest, rng=loaded({k: word(1) for k in range(T)})),
    ),
]  # fmt: skip


@pytest.mark.attack("A4")
@pytest.mark.attack("C1")
@pytest.mark.attack("C4")
@pytest.mark.attack("C5")
@pytest.mark.attack("C7")
@pytest.mark.parametrize("cheat", [*MESSAGES, *CHECKS], ids=lambda cheat: cheat.id)
def test_every_lie_is_caught(cheat: Cheat) -> None:
    outcomes = assert_caught(cheat, CHEATER, partial(run_dkg, N, T))
    assert not any(durable(outcomes[index]) for index in cheat.by)


def test_the_identity_is_read_and_then_refused() -> None:
    """It has a canonical encoding, so its refusal is a check of its own."""
    assert ED25519.decode_point(IDENTITY).is_identity


@pytest.mark.attack("C11")
@pytest.mark.parametrize(
    ("round_", "change"),
    [
        pytest.param(1, lambda _: b"V" * 32, id="V"),
        pytest.param(2, lambda value: changed(value, U_I, b"x" * 32), id="the reveal"),
    ],
)
def test_two_versions_of_a_broadcast(round_: int, change: Any) -> None:
    """Both echoes block: everybody holds both versions before anything depends on them."""
    outcomes = run_dkg(N, T, "echo", tamper={CHEATER: [says(round_, change, only_to=3)]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check=f"frost-keygen.r{round_}.msg", by=ALL)
    assert not any(durable(node) for node in outcomes.honest)


@pytest.mark.attack("C7")
def test_a_copied_commitment_cannot_be_opened() -> None:
    """The cheater says what party 1 says, a moment later: V names its maker, and so does the proof."""

    def copycat(_ctx: SessionContext) -> Protocol[None]:
        seen = yield Receive(1, broadcast=Bytes(32), echo=Echo.NONE)
        yield Send(1, broadcast=seen[holder(1)].broadcast)
        first, second, _ = dkg.rounds(FROST_ED25519)
        yield first
        revealed = yield replace(second, echo=Echo.NONE)
        yield Send(2, broadcast=revealed[holder(1)].broadcast)
        yield second

    cheat = Cheat("a copy", BadDecommit, "frost-keygen.r2.decommit", ALL, program=copycat)
    assert_caught(cheat, CHEATER, partial(run_dkg, N, T))


@pytest.mark.attack("C7")
def test_a_copied_proof_does_not_verify_for_another_party() -> None:
    """Also inside a commitment of one's own: c names the prover."""
    shared = {k: word(7 + k) for k in range(T)} | {NONCE: word(99)}
    outcomes = run_dkg(N, T, "copied", dice={1: shared, 3: shared})
    assert len(outcomes.results()) == N
    C_0 = ED25519.mul_base(7)
    assert ED25519_SHA512.pop_challenge(b"s" * 32, 1, C_0, G) != ED25519_SHA512.pop_challenge(
        b"s" * 32, 3, C_0, G
    )


@pytest.mark.attack("C8")
def test_done_to_another_result_blames_nobody() -> None:
    rule = says(15, lambda _: b"d" * 32, kind=Kind.DONE, only_to=3)
    outcomes = run_dkg(N, T, tamper={CHEATER: [rule]})
    assert isinstance(outcomes[3].error, SessionMismatch)
    assert not any(isinstance(record, Certificate) for record in outcomes[3].records)


@pytest.mark.attack("C4")
def test_a_lie_that_no_check_sees_still_gives_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkg, "check_share", lambda *_: None)
    outcomes = run_dkg(N, T, tamper={CHEATER: list(gives(lambda f: (f + 1) % Q))})
    assert type(outcomes[3].error) is InternalError
    assert not durable(outcomes[3])
    for index in ALL:
        assert not any(isinstance(record, Certificate) for record in outcomes[index].records)
