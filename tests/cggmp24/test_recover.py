"""Recovery of a lost share (protocol.md 2.4, 7): among honest parties, and with one malicious helper."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cggmp24_cheating import Cheat, changed, meddling, reports
from cggmp24_testing import dealt_key
from reshare_testing import Loss, helper, recipient
from session_testing import (
    LEADING_ZERO,
    Anything,
    Outcomes,
    assert_judged,
    identity_of,
    says,
    tells,
)
from tss_testing import SMALL_SECP, TINY, TINY_WITHOUT_AUX
from zk_naive import enc

from tss.cggmp24 import recover
from tss.cggmp24.recover import HELPER, Terms
from tss.effects import Effect, Send
from tss.encoding import Integer, decode
from tss.envelope import Kind, PartyId
from tss.errors import (
    BadPoint,
    BadShare,
    CallerError,
    Equivocation,
    InternalError,
    PeerFault,
    SchemaViolation,
    WrongChainCode,
    WrongLength,
    WrongRecord,
)
from tss.params import FROST_ED25519
from tss.vss import lagrange

Q, G = TINY.group.q, TINY.group.G


@pytest.mark.parametrize(
    "loss",
    [
        Loss(),
        Loss(TINY, 3, 2, (1, 2), 3),
        Loss(TINY, 3, 2, (2, 3), 1),
        Loss(TINY_WITHOUT_AUX, 16, 15, tuple(range(2, 17)), 1),
        Loss(SMALL_SECP, 3, 2, (1, 3), 2),
        Loss(FROST_ED25519, 4, 3, (1, 2, 4), 3),
    ],
    ids=lambda loss: f"{loss.r} of {loss.suite.proto}, {loss.t} of {loss.n}",
)
def test_the_lost_share_is_back(loss: Loss) -> None:
    outcomes = loss.run("honest")
    assert all(node.error is None for node in outcomes.honest), [node.error for node in outcomes.honest]
    assert outcomes[recipient(loss.r)].result == loss.key[loss.r]
    assert all(outcomes[helper(i)].result is None for i in loss.helpers)


def test_what_each_contribution_says_is_blinded() -> None:
    """The same shares, other pairwise keys: nothing that the recipient gets is the same, but the sum."""
    loss, seen = Loss(), []
    for seed in range(2):
        bodies: list[Any] = []
        loss.run(("blinded", seed), bodies=bodies)
        told = {
            b.sender.index: b.payload
            for b in bodies
            if b.kind is Kind.MSG and b.round == 2 and b.to == recipient(2)
        }
        assert set(told) == set(loss.helpers)
        seen.append(told)
    assert not set(seen[0].values()) & set(seen[1].values())


def test_the_contributions_of_the_specification() -> None:
    """m_i = lam_i(H,z)*x_i + sum_{j>i} z_ij - sum_{j<i} z_ji, c to the recipient alone."""
    loss, bodies = Loss(), []
    loss.run("specified", bodies=bodies)

    def told(i: PartyId, j: PartyId, round_: int) -> Any:
        (payload,) = {
            b.payload for b in bodies if (b.sender, b.to, b.round, b.kind) == (i, j, round_, Kind.MSG)
        }
        return decode(payload, Integer(64) if round_ == 2 else Anything(TINY.group))

    H = loss.helpers
    z = {(i, j): told(helper(i), helper(j), 1)[0] for i in H for j in H if i < j}
    for i in H:
        m = (
            lagrange(H, i, 2, Q) * loss.key[i].x
            + sum(z[i, j] for j in H if j > i)
            - sum(z[j, i] for j in H if j < i)
        )
        assert told(helper(i), recipient(2), 2) == m % Q
        assert told(helper(i), recipient(2), 1) == [None, loss.key[i].chain_code]


def test_tail() -> None:
    """key_id, X, c-hash, t, share_epoch, helper list, [X_j] of all, r, idkey_r (protocol.md 0.7)."""
    loss = Loss()
    share = loss.key[1]
    c_hash = hashlib.sha256(enc([TINY.proto, "c-hash", share.X, share.chain_code])).digest()
    public = [share.public_shares[j] for j in range(1, 6)]
    identity = identity_of(recipient(2)).public
    tail = [share.key_id, share.X, c_hash, 3, share.share_epoch, [1, 3, 5], public, 2, identity]
    assert loss.terms.tail() == tail
    assert Terms.from_tail(tail) == loss.terms


TERMS = Loss().terms


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        pytest.param(replace(TERMS, helpers=(1, 3)), "parties are not", id="t-1 helpers"),
        pytest.param(replace(TERMS, helpers=(1, 5, 3)), "parties are not", id="not in order"),
        pytest.param(replace(TERMS, t=2), "exactly 2", id="another t"),
        pytest.param(replace(TERMS, identity=bytes(32)), "another identity", id="another recipient"),
        pytest.param(replace(TERMS, X=TERMS.X + G), "do not give", id="another X"),
        pytest.param(
            replace(TERMS, public_shares={**TERMS.public_shares, 2: TERMS.public_shares[2] + G}), "do not give",
            id="recovered X_z is not X_r",
        ),
        pytest.param(
            replace(TERMS, public_shares={j: TERMS.public_shares[j] for j in (1, 3, 4, 5)}), "numbered",
            id="a holder less",
        ),
        pytest.param(
            replace(TERMS, public_shares={j: TERMS.public_shares[j] for j in (1, 2, 3, 4)}), "different holders",
            id="a helper that holds nothing",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("index", [2, 3], ids=["recipient", "helper"])
def test_terms_that_cannot_be(terms: Terms, problem: str, index: int) -> None:
    party = recipient(2) if index == 2 else helper(index)
    outcomes = Loss().run(programs={index: Loss().program(index, terms)}, confess=True)
    error = outcomes[party].error
    assert isinstance(error, CallerError)
    assert problem in str(error)


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        pytest.param(replace(TERMS, t=1, helpers=(1,)), "where exactly 1", id="t = 1"),
        pytest.param(
            replace(TERMS, public_shares=dict.fromkeys(range(1, 18), G)), "where exactly 3", id="too many holders"
        ),
        pytest.param(
            replace(TERMS, public_shares={j: TERMS.public_shares[j] for j in (1, 2, 3)}), "different holders",
            id="as many holders as helpers",
        ),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be(terms: Terms, problem: str) -> None:
    identities = {helper(i): bytes(32) for i in terms.helpers} | {recipient(2): TERMS.identity}
    with pytest.raises(CallerError, match=problem):
        terms.check(identities)


def test_whoever_helps_is_not_helped() -> None:
    identities = {helper(i): bytes(32) for i in (1, 2, 3)} | {recipient(2): TERMS.identity}
    with pytest.raises(CallerError, match="different holders"):
        replace(TERMS, helpers=(1, 2, 3)).check(identities)


def test_a_helper_has_the_share_that_it_says() -> None:
    other = dealt_key(TINY, 5, 3, seed="other")[3]
    for share in (other, Loss().key[1]):
        outcomes = Loss().run(
            programs={3: lambda ctx, share=share: recover.help_recover(ctx, TERMS, share)}, confess=True
        )
        assert isinstance(outcomes[helper(3)].error, CallerError)


# -- a malicious helper ------------------------------------------------------------------------------------------

CHEATER, ALL = 3, (1, 2, 5)


def in_record(place: int, new: Any) -> Any:
    return says(1, lambda v: [[changed(v[0][0], place, new), v[0][1]]])


def in_keys(new: Any) -> Any:
    return says(1, lambda v: [[v[0][0], new(v[0][1])]])


def told_another_key(effect: Effect, own: Mapping[str, Any]) -> Effect:
    """Its contribution is made with a key that nobody has."""
    if isinstance(effect, Send) and effect.round == 2:
        return replace(effect, p2p={j: (m + 1) % Q for j, m in effect.p2p.items()})
    return effect


CHEATS = [
    Cheat("a record without X_j", SchemaViolation, "recover.r1.schema", ALL, (says(1, lambda v: [[v[0][0][:-1], v[0][1]]]),)),
    Cheat("z with a leading zero", SchemaViolation, "recover.r1.schema", (5,), (tells(1, lambda _: [LEADING_ZERO, None], to=5),)),
    Cheat("a helper says nothing", SchemaViolation, "recover.r1.role", ALL, (says(1, lambda _: [None]),)),
    Cheat("another key id", WrongRecord, "recover.r1.record", ALL, (in_record(0, b"k" * 32),)),
    Cheat("another X", WrongRecord, "recover.r1.record", ALL, (in_record(1, lambda X: X + G),)),
    Cheat("another c-hash", WrongRecord, "recover.r1.record", ALL, (in_record(2, b"c" * 32),)),
    Cheat("another t", WrongRecord, "recover.r1.record", ALL, (in_record(3, 2),)),
    Cheat("another epoch", WrongRecord, "recover.r1.record", ALL, (in_record(4, b"e" * 32),)),
    Cheat("another X_j", WrongRecord, "recover.r1.record", ALL, (in_record(5, lambda P: [P[0] + G, *P[1:]]),)),
    Cheat("no pairwise key", WrongLength, "recover.r1.length", ALL, (in_keys(lambda _: []),)),
    Cheat("a pairwise key too many", WrongLength, "recover.r1.length", ALL, (in_keys(lambda Z: [*Z, G]),)),
    Cheat("z that is not Z's", BadShare, "recover.r1.z", (5,), (tells(1, lambda v: [(v[0] + 1) % Q, None], to=5),)),
    Cheat("z + q", BadShare, "recover.r1.z", (5,), (tells(1, lambda _: [Q + 1, None], to=5), in_keys(lambda _: [G]))),
    Cheat("no z", BadShare, "recover.r1.z", (5,), (tells(1, lambda _: [None, None], to=5),)),
    Cheat("z and a chain code", BadShare, "recover.r1.z", (5,), (tells(1, lambda v: [v[0], b"c" * 32], to=5),)),
    Cheat("Z that is not z's", BadShare, "recover.r1.z", (5,), (in_keys(lambda Z: [Z[0] + G]),)),
    Cheat("another chain code", WrongChainCode, "recover.r1.chain code", (2,), (tells(1, lambda _: [None, b"c" * 32], to=2),)),
    Cheat("no chain code", WrongChainCode, "recover.r1.chain code", (2,), (tells(1, lambda _: [None, None], to=2),)),
    Cheat("a chain code and z", WrongChainCode, "recover.r1.chain code", (2,), (tells(1, lambda v: [5, v[1]], to=2),)),
    Cheat("m off by one", BadShare, "recover.r2.share", (2,), (tells(2, lambda m: (m + 1) % Q, to=2),)),
    Cheat("m made of other keys", BadShare, "recover.r2.share", (2,), program=meddling(Loss().program(CHEATER), told_another_key)),
    Cheat("m of more bits than q", SchemaViolation, "recover.r2.schema", (2,), (tells(2, lambda _: 1 << Q.bit_length(), to=2),)),
]  # fmt: skip


def accusers(cheat: Cheat, outcomes: Outcomes) -> set[int]:
    """Who blames the cheater; for exactly this check, and with evidence that convinces somebody who was not there."""
    found = set()
    for node in outcomes.honest:
        error = node.error
        if isinstance(error, PeerFault):
            assert (type(error), error.peer, error.role, error.check) == (
                cheat.error,
                CHEATER,
                HELPER,
                cheat.check,
            )
            assert_judged(outcomes, node)
            found.add(node.party.index)
    return found


@pytest.mark.attack("C4")
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.id)
def test_every_lie_of_a_helper_is_caught(cheat: Cheat) -> None:
    """A helper's part is over when it has sent its contribution: a complaint may come too late for it."""
    options: dict[str, Any] = {"tamper": {CHEATER: list(cheat.tamper)}}
    if cheat.program is not None:
        options["programs"] = {CHEATER: cheat.program}
    deaf = Loss().run((cheat.id, "deaf"), drop=reports, **options)
    assert accusers(cheat, deaf) == set(cheat.by)
    told = Loss().run((cheat.id, "told"), **options)
    assert accusers(cheat, told) >= set(cheat.by[:1])
    for outcomes in (deaf, told):
        assert outcomes[recipient(2)].result is None or 2 not in cheat.by


def test_a_contribution_that_is_not_reduced() -> None:
    """m + q has no more bits than q for small m: the largest q below 2^32 leaves little room, so m is made small."""
    Z = {(1, 3): 5 * G, (1, 5): 6 * G, (3, 5): 7 * G}
    loss = Loss()
    m = (lagrange(loss.helpers, 3, 2, Q) * loss.key[3].x + 7 - 5) % Q
    recover.check_contribution(loss.terms, helper(3), Z, m)
    for wrong in (m + Q, m - Q, m + 1):
        with pytest.raises(BadShare) as caught:
            recover.check_contribution(loss.terms, helper(3), Z, wrong)
        assert (caught.value.peer, caught.value.role) == (3, "helper")


def test_a_contribution_of_0_is_one_and_q_is_none() -> None:
    loss = Loss()
    point = lagrange(loss.helpers, 3, 2, Q) * loss.terms.public_shares[3] + 7 * G
    Z = {(1, 3): point, (1, 5): 6 * G, (3, 5): 7 * G}
    recover.check_contribution(loss.terms, helper(3), Z, 0)
    with pytest.raises(BadShare):
        recover.check_contribution(loss.terms, helper(3), Z, Q)


def test_a_pairwise_key_of_0_is_one_and_q_is_none() -> None:
    ctx, broadcast = SimpleNamespace(suite=TINY), [[TERMS.record, [TINY.group.identity, G]]]
    recover.check_told(ctx, TERMS, helper(1), helper(3), broadcast, [0, None])  # type: ignore[arg-type]
    with pytest.raises(BadShare):
        recover.check_told(ctx, TERMS, helper(1), helper(3), broadcast, [Q, None])  # type: ignore[arg-type]


def test_a_key_told_to_a_helper_that_gets_none() -> None:
    """In evidence it may be for anybody."""
    with pytest.raises(BadShare) as caught:
        recover.check_told(
            SimpleNamespace(suite=TINY),  # type: ignore[arg-type]
            *(TERMS, helper(3), helper(1), [[TERMS.record, [G]]], [1, None]),
        )
    assert (caught.value.peer, caught.value.role) == (3, HELPER)


def test_a_recipient_that_says_something() -> None:
    lie = says(1, lambda _: [[TERMS.record, []]])
    outcomes = Loss().run("recipient", tamper={2: [lie]})
    outcomes.assert_blamed(2, SchemaViolation, check="recover.r1.role")


def test_a_lie_that_no_check_sees_still_gives_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "check_contribution", lambda *_: None)
    outcomes = Loss().run("unseen", tamper={CHEATER: [tells(2, lambda m: (m + 1) % Q, to=2)]})
    assert type(outcomes[recipient(2)].error) is InternalError


def test_two_versions_of_what_a_helper_says() -> None:
    lie = in_record(0, b"k" * 32)
    outcomes = Loss().run("echo", tamper={CHEATER: [replace(lie, recipients=frozenset({5}))]})
    for node in outcomes.honest:
        if node.blamed is not None:
            assert node.blamed == CHEATER
            assert isinstance(node.error, (Equivocation, WrongRecord, BadPoint))
