"""Signing with one malicious signer (protocol.md 3.5, 7): a lie for every check, and who sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cggmp24_cheating import Cheat, assert_caught, driven, durable, reports
from cggmp24_testing import Signers
from session_testing import LEADING_ZERO, Committee, Raw, Round0, identity_of, says
from tss_testing import TINY

from tss.cggmp24 import sign
from tss.cggmp24.presignature import Presignature, State
from tss.cggmp24.sign import SignRequest
from tss.encoding import encode
from tss.envelope import Kind, decode_body, holder
from tss.envelope import sign as sign_body
from tss.errors import (
    BadPartial,
    Equivocation,
    OutOfDomain,
    PresignatureSpent,
    SchemaViolation,
    SessionMismatch,
)
from tss.judge import judge

Q = TINY.group.q
REQUEST = SignRequest(hashlib.sha256(b"message").digest())
TWO = Signers((1, 2), 3)
"""Party 1 owns: it proposes, 2 accepts with its sigma, 1 sends its own."""
THREE = Signers((1, 2, 4), 4)
"""Party 1 owns: it proposes, 2 and 4 accept, 1 shows both, then all send sigma."""


def stock(signers: Signers, **options: Any) -> Any:
    return signers.sign_with_made_stock(REQUEST, **options)


def accepts(change: Callable[[list[Any]], Any]) -> Any:
    """The acceptance of stock signing, [none, [e, [req, sigma] or none]]."""
    return says(0, change)


def named(*cases: tuple[Any, ...]) -> list[Any]:
    """Cases whose first value is their name."""
    return [pytest.param(*case, id=case[0]) for case in cases]


PARTIALS = named(
    ("sigma + 1", BadPartial, "equation", lambda s: (s + 1) % Q),
    ("sigma is 0", BadPartial, "equation", lambda _: 0),
    ("-sigma", BadPartial, "equation", lambda s: Q - s),
    ("sigma is q", OutOfDomain, "range", lambda _: Q),
    ("sigma past q", OutOfDomain, "range", lambda _: (1 << 32) - 1),
)


class TestTwoSigners:
    @pytest.mark.attack("D7")
    @pytest.mark.parametrize(("what", "error", "check", "change"), PARTIALS)
    def test_a_false_sigma_in_the_acceptance(self, what: str, error: Any, check: str, change: Any) -> None:
        """The owner sees it before it makes its own: nothing of it leaves."""
        rule = accepts(lambda value: [value[0], [value[1][0], change(value[1][1])]])
        cheat = Cheat(what, error, f"sign.partial.{check}", (1,), (rule,))
        outcomes = assert_caught(cheat, 2, partial(stock, TWO))
        assert not durable(outcomes[1])
        assert not [body for body in outcomes[1].bodies() if body.kind is Kind.MSG]

    @pytest.mark.attack("D7")
    @pytest.mark.parametrize(("what", "error", "check", "change"), PARTIALS)
    def test_a_false_sigma_of_the_owner(self, what: str, error: Any, check: str, change: Any) -> None:
        cheat = Cheat(what, error, f"sign.partial.{check}", (2,), (says(1, lambda v: [v[0], change(v[1])]),))
        assert_caught(cheat, 1, partial(stock, TWO))

    @pytest.mark.parametrize(
        ("what", "cheater", "round_", "change"),
        named(
            ("no sigma", 2, 0, lambda v: [v[0], None]),
            ("e of 31 bytes", 2, 0, lambda v: [v[0][1:], v[1]]),
            ("req of 33 bytes", 2, 0, lambda v: [v[0], [v[1][0] + b"x", v[1][1]]]),
            ("a negative sigma", 2, 0, lambda v: [v[0], [v[1][0], -5]]),
            ("sigma of more bits than q", 1, 1, lambda v: [v[0], 1 << 32]),
            ("sigma with a leading zero", 1, 1, lambda v: [v[0], LEADING_ZERO]),
            ("three values", 1, 1, lambda v: [*v, 1]),
        ),
    )
    def test_what_is_no_message(self, what: str, cheater: int, round_: int, change: Any) -> None:
        rule = says(round_, change)
        cheat = Cheat(what, SchemaViolation, f"sign.r{round_}.schema", (3 - cheater,), (rule,))
        assert_caught(cheat, cheater, partial(stock, TWO))

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda v: [v[0], [b"q" * 32, v[1][1]]], id="another req"),
            pytest.param(lambda v: [b"x" * 32, v[1]], id="another e than the one of its sigma"),
        ],
    )
    def test_another_request_in_the_acceptance_blames_nobody(self, change: Any) -> None:
        parts = TWO.stock()
        outcomes = TWO.stock_sign(REQUEST, parts, tamper={2: [accepts(change)]})
        outcomes.assert_no_blame(SessionMismatch)
        assert parts[1].state is State.DESTROYED
        assert not durable(outcomes[1])

    def test_another_request_of_the_owner_blames_nobody(self) -> None:
        """The responder has answered: it keeps its sigma for this request and gives none for another."""
        parts = TWO.stock()
        outcomes = TWO.stock_sign(REQUEST, parts, tamper={1: [says(1, lambda v: [b"q" * 32, v[1]])]})
        outcomes.assert_no_blame(SessionMismatch)
        assert parts[2].state is State.ANSWERED

    @pytest.mark.parametrize("what", ["digest", "path", "presignature", "entropy"])
    def test_a_sigma_for_something_else_under_the_right_req(self, what: str) -> None:
        """Wrong for this request, whatever it may be right for (protocol.md 7)."""

        def false(ctx: Any) -> Any:
            part = TWO.stock(1 if what == "presignature" else 0)[2]
            request = SignRequest(b"o" * 32) if what == "digest" else REQUEST
            tau = 5 if what == "path" else 0
            e_me = part.promise(request.digest, (), tau, ctx.rng)
            given = {1: b"x" * 32 if what == "entropy" else owners_e(), 2: e_me}
            right = sign.terms(TINY, TWO.stock()[2].public, REQUEST, 0, TWO.share.X, {**given, 1: owners_e()})
            wrong = sign.terms(TINY, part.public, request, tau, TWO.share.X, given)
            value = part.answer(wrong.req, e_me, wrong.m, wrong.r, wrong.xi)
            yield sign.Send(0, broadcast=[e_me, [right.req, value]])

        def owners_e() -> bytes:
            return parts[1].promise(REQUEST.digest, (), 0, lambda _: b"")

        parts = TWO.stock()
        outcomes = TWO.stock_sign(REQUEST, parts, programs={2: false})
        outcomes.assert_blamed(2, BadPartial, check="sign.partial.equation", by=[1])


class TestManySigners:
    @pytest.mark.attack("D7")
    @pytest.mark.parametrize(("what", "error", "check", "change"), PARTIALS)
    @pytest.mark.parametrize("cheater", [1, 2])
    def test_a_false_sigma(self, cheater: int, what: str, error: Any, check: str, change: Any) -> None:
        honest = tuple(j for j in THREE.S if j != cheater)
        rule = says(2, lambda v: [v[0], change(v[1])])
        cheat = Cheat(what, error, f"sign.partial.{check}", honest, (rule,))
        assert_caught(cheat, cheater, partial(stock, THREE))

    def test_a_false_sigma_for_one(self) -> None:
        """Sigma has no echo: who gets the true one has a signature, who gets the false one has its evidence."""
        rule = says(2, lambda v: [v[0], (v[1] + 1) % Q], only_to=4)
        outcomes = stock(THREE, tamper={2: [rule]}, drop=reports)
        assert outcomes[1].result is not None
        assert isinstance(outcomes[4].error, BadPartial)
        assert outcomes[4].blamed == 2

    @pytest.mark.parametrize("cheater", [1, 2])
    def test_another_req_blames_nobody(self, cheater: int) -> None:
        outcomes = stock(THREE, tamper={cheater: [says(2, lambda v: [b"q" * 32, v[1]])]}, drop=reports)
        outcomes.assert_no_blame(SessionMismatch)
        for error in outcomes.errors().values():
            assert f"party {cheater}" in str(error)

    @pytest.mark.parametrize(
        ("what", "cheater", "round_", "change", "by"),
        named(
            ("a sigma in the acceptance", 2, 0, lambda v: [v[0], [b"q" * 32, 5]], (1,)),
            ("e of 33 bytes", 2, 0, lambda v: [v[0] + b"x", None], (1,)),
            ("sigma without req", 2, 2, lambda v: v[1:], (1, 4)),
            ("req of 31 bytes", 4, 2, lambda v: [v[0][1:], v[1]], (1, 2)),
            ("one acceptance shown", 1, 1, lambda v: v[:1], (2, 4)),
            ("three acceptances shown", 1, 1, lambda v: [*v, v[0]], (2, 4)),
            ("an acceptance without signature", 1, 1, lambda v: [v[0], v[1][:1]], (2, 4)),
        ),
    )
    def test_what_is_no_message(
        self, what: str, cheater: int, round_: int, change: Any, by: tuple[int, ...]
    ) -> None:
        cheat = Cheat(what, SchemaViolation, f"sign.r{round_}.schema", by, (says(round_, change),))
        assert_caught(cheat, cheater, partial(stock, THREE))


@pytest.mark.attack("C11")
@pytest.mark.attack("D2")
def test_two_acceptances_are_an_equivocation() -> None:
    """Two entropies of one signer under one sid: evidence, and no show (protocol.md 3.5)."""
    parts = THREE.stock()
    e = parts[1].promise(REQUEST.digest, (), 0, lambda size: b"e" * size)
    programs = {
        j: (lambda ctx, j=j: sign.stock_sign(ctx, parts[j], THREE.share.chain_code, THREE.owner, REQUEST, e))
        for j in THREE.S
    }
    with driven(Committee(programs, 1, kind="sign", round0=Round0.NONE, cheaters=[2])) as committee:
        committee.start(1, 2)
        committee.settle()
        (accepted,) = committee[2].bodies()
        committee.send(committee.forge(replace(accepted, payload=payload([b"2" * 32, None]))), 1)
        committee.settle()
        error = committee[1].error
        assert isinstance(error, Equivocation)
        assert (committee[1].blamed, error.check) == (2, "sign.r0.msg")
        assert committee[1].bodies()[0].kind is not Kind.MSG
        identities = {holder(j): identity_of(holder(j)).public for j in THREE.S}
        verdict = judge(error.evidence or b"", identities, {TINY.proto: TINY})
        assert (verdict.guilty, verdict.accused, verdict.check) == (True, holder(2), "sign.r0.msg"), verdict
    assert parts[1].state is State.DESTROYED


def resigned(signer: int = 2, **fields: Any) -> Callable[[list[Any]], list[Any]]:
    """The acceptance of party 2 with other fields, really signed by `signer`."""

    def change(shown: list[Any]) -> list[Any]:
        body = replace(decode_body(shown[0][0]), **fields)
        return [sign_body(body, identity_of(holder(signer)).sign).as_value(), shown[1]]

    return change


def payload(value: Any) -> bytes:
    return encode([None, value])


class TestShow:
    """The owner shows signed acceptances: each must be of this very session, and of the party in whose place it stands."""

    @pytest.mark.parametrize(
        ("what", "check", "change"),
        named(
            ("of another suite", "place", resigned(proto="other/v1")),
            ("of another session", "place", resigned(sid=b"\x05" * 32)),
            ("of another round", "place", resigned(round=1)),
            ("of another kind", "place", resigned(kind=Kind.ECHO)),
            ("of another role", "place", resigned(sender=replace(holder(2), role="dealer"))),
            ("to one party", "place", resigned(to=holder(4))),
            ("of the other responder", "place", lambda v: [v[1], v[1]]),
            ("in another order", "place", lambda v: v[::-1]),
            ("signed by the owner", "signature", resigned(signer=1)),
            ("with a signature of another message", "signature", lambda v: [[v[0][0], v[1][1]], v[1]]),
            ("with a signature of zeros", "signature", lambda v: [v[0], [v[1][0], bytes(64)]]),
        ),
    )
    def test_a_show_that_is_none(self, what: str, check: str, change: Any) -> None:
        cheat = Cheat(what, SchemaViolation, f"sign.show.{check}", (2, 4), (says(1, change),))
        outcomes = assert_caught(cheat, 1, partial(stock, THREE))
        assert not durable(outcomes[2])

    @pytest.mark.parametrize(
        ("what", "change"),
        named(
            ("that are no body", lambda v: [[b"\x00", v[0][1]], v[1]]),
            ("that hold 31 bytes", resigned(payload=payload([b"e" * 31, None]))),
            ("that hold a sigma", resigned(payload=payload([b"e" * 32, [b"q" * 32, 5]]))),
            ("that hold an echo", resigned(payload=encode([b"echo", [b"e" * 32, None]]))),
        ),
    )
    def test_acceptances_that_hold_something_else(self, what: str, change: Any) -> None:
        """Party 2 would have to help for all but the first: the owner should have dropped it, so it is the owner's."""
        cheat = Cheat(what, SchemaViolation, "sign.show", (2, 4), (says(1, change),))
        assert_caught(cheat, 1, partial(stock, THREE))

    @pytest.mark.attack("D2")
    def test_an_acceptance_that_this_party_did_not_send(self) -> None:
        """Somebody signs with party 2's key: 2 itself gives no sigma; for 4 party 2 has said two things."""
        change = resigned(payload=payload([b"x" * 32, None]))
        parts = THREE.stock()
        outcomes = THREE.stock_sign(REQUEST, parts, tamper={1: [says(1, change)]}, cheaters=[2], drop=reports)
        assert isinstance(outcomes[2].error, SessionMismatch)
        assert "did not send" in str(outcomes[2].error)
        assert parts[2].state is State.DESTROYED
        assert not durable(outcomes[2])
        assert isinstance(outcomes[4].error, Equivocation)
        assert outcomes[4].blamed == 2

    @pytest.mark.attack("D2")
    def test_two_shows_give_no_two_sigmas(self) -> None:
        """The owner shows another entropy of a colluding party to one: it answers once at most, and knows both entropies."""
        accomplice = resigned(payload=payload([b"x" * 32, None]))
        parts = THREE.stock()
        outcomes = THREE.stock_sign(
            REQUEST, parts, tamper={1: [says(1, accomplice, only_to=4)]}, cheaters=[2], drop=reports
        )
        assert isinstance(outcomes[4].error, Equivocation)
        assert (outcomes[4].blamed, outcomes[4].error.check) == (2, "sign.r0.msg")
        assert len(durable(outcomes[4])) <= 1
        assert parts[4].state is (State.ANSWERED if durable(outcomes[4]) else State.DESTROYED)


class TestFullSigning:
    @pytest.mark.attack("D7")
    @pytest.mark.parametrize(("what", "error", "check", "change"), PARTIALS)
    def test_a_false_sigma(self, what: str, error: Any, check: str, change: Any) -> None:
        cheat = Cheat(
            what, error, f"sign.partial.{check}", (1, 4), (says(4, lambda v: [v[0], change(v[1])]),)
        )
        assert_caught(cheat, 2, partial(THREE.full_sign, REQUEST))

    def test_another_req_blames_nobody(self) -> None:
        rule = says(4, lambda v: [b"q" * 32, v[1]])
        outcomes = THREE.full_sign(REQUEST, tamper={2: [rule]}, drop=reports)
        outcomes.assert_no_blame(SessionMismatch)

    @pytest.mark.parametrize(
        ("what", "round_", "change"),
        named(
            ("no entropy", 3, lambda v: [v[0], None]),
            ("entropy of 31 bytes", 3, lambda v: [v[0], v[1][1:]]),
            ("sigma of more bits than q", 4, lambda v: [v[0], 1 << 32]),
            ("no req", 4, lambda v: [Raw(b"\x07\0\0\0\0"), v[1]]),
        ),
    )
    def test_what_is_no_message(self, what: str, round_: int, change: Any) -> None:
        cheat = Cheat(what, SchemaViolation, f"full-sign.r{round_}.schema", (1, 4), (says(round_, change),))
        assert_caught(cheat, 2, partial(THREE.full_sign, REQUEST))


@pytest.mark.attack("D2")
def test_an_owner_cannot_get_two_answers_for_one_presignature() -> None:
    """Two proposals with one presignature at the same moment, to the same responder: one sigma."""
    parts = TWO.stock()
    lying_owner = [TWO.stock()[1], TWO.stock()[1]]
    answers, refusals = [], []
    for k, request in enumerate((REQUEST, SignRequest(b"o" * 32))):
        mixed = {1: lying_owner[k], 2: parts[2]}
        outcomes = TWO.stock_sign(request, mixed, ph=bytes([k]) * 32, cheaters=[1])
        answers += durable(outcomes[2])
        if outcomes[2].error is not None:
            refusals.append(outcomes[2].error)
    assert len(answers) == 1
    assert [type(error) for error in refusals] == [PresignatureSpent]


@pytest.mark.attack("D2")
def test_the_same_digest_with_another_entropy_of_the_owner() -> None:
    """The digest is the same, the joint entropy is not: another R, and so another sigma. Refused."""
    parts = TWO.stock()
    TWO.stock_sign(REQUEST, parts, seed=1).results()
    again: dict[int, Presignature] = {1: TWO.stock()[1], 2: parts[2]}
    outcomes = TWO.stock_sign(REQUEST, again, seed=2, ph=b"\x01" * 32, cheaters=[1])
    assert type(outcomes[2].error) is PresignatureSpent
    assert not durable(outcomes[2])
