"""Whoever signed another request: everybody shows the signed entropies, and two of one signer are its fault (3.5 step 3)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cggmp24_cheating import driven, durable, reports
from cggmp24_testing import Signers
from session_testing import Committee, Posted, Round0, identity_of, says, silent

from tss.cggmp24 import sign
from tss.cggmp24.presignature import State
from tss.cggmp24.sign import SignRequest
from tss.encoding import encode
from tss.envelope import Kind, decode_body, holder
from tss.envelope import sign as sign_body
from tss.errors import Equivocation, SessionMismatch, Timeout

REQUEST = SignRequest(hashlib.sha256(b"message").digest())
TWO = Signers((1, 2), 3)
THREE = Signers((1, 2, 4), 4)
FOUR = Signers((1, 2, 3, 4), 4)
"""Party 1 owns."""


def another_e(value: list[Any]) -> list[Any]:
    return [b"x" * 32, *value[1:]]


def other_acceptance(shown: list[Any]) -> list[Any]:
    """The show of the owner, with another entropy of party 2, signed by it."""
    body = replace(decode_body(shown[0][0]), payload=encode([None, [b"x" * 32, None]]))
    return [sign_body(body, identity_of(holder(2)).sign).as_value(), *shown[1:]]


def shows(node: Any) -> set[int]:
    return {body.round for body in node.bodies() if body.kind is Kind.SHOW}


@pytest.mark.attack("C11")
@pytest.mark.parametrize("deaf", [False, True])
def test_two_acceptances_with_different_entropies(deaf: Any) -> None:
    """One to the owner, another one to the other signer, who gets the first from the owner."""
    parts = THREE.made_stock()
    options = {"drop": reports} if deaf else {}
    outcomes = THREE.stock_sign(REQUEST, parts, tamper={2: [says(0, another_e, only_to=4)]}, **options)
    assert isinstance(outcomes[4].error, Equivocation)
    assert (outcomes[4].blamed, outcomes[4].error.check) == (2, "sign.r0.msg")
    if not deaf:
        outcomes.assert_blamed(2, Equivocation, check="sign.r0.msg", by=[1, 4])
    for j in (1, 4):
        assert len(durable(outcomes[j])) <= 1
        assert parts[j].state is (State.ANSWERED if durable(outcomes[j]) else State.DESTROYED)


@pytest.mark.attack("C11")
@pytest.mark.parametrize("seed", range(4))
def test_owner_and_accomplice_tell_two_signers_different_entropies(seed: int) -> None:
    """Both sign, each for what it was told; neither gets both alone. They show, and see two versions."""
    tamper = {1: [says(1, other_acceptance, only_to=4)], 2: [says(0, another_e, only_to=4)]}
    parts = FOUR.made_stock()
    outcomes = FOUR.stock_sign(REQUEST, parts, seed=seed, tamper=tamper, drop=reports)
    for j in (3, 4):
        error = outcomes[j].error
        assert isinstance(error, Equivocation), (seed, error)
        assert (error.peer, error.check) in {(1, "sign.r1.msg"), (2, "sign.r0.msg")}
        assert parts[j].state is State.ANSWERED
        assert len(durable(outcomes[j])) == 1
    assert shows(outcomes[3]) | shows(outcomes[4]) == {0, 1}


@pytest.mark.parametrize("signers", [TWO, THREE, FOUR], ids=["two", "three", "four"])
@pytest.mark.parametrize("cheater", [1, 2])
def test_another_req_with_one_set_of_entropies_blames_nobody(signers: Signers, cheater: int) -> None:
    """All show what they have; it is the same everywhere, so nobody can be told from a party that is confused."""
    round_ = 2 if len(signers.S) > 2 else 2 - cheater
    place = (lambda v: [v[0], [b"q" * 32, v[1][1]]]) if round_ == 0 else (lambda v: [b"q" * 32, v[1]])
    parts = signers.made_stock()
    outcomes = signers.stock_sign(REQUEST, parts, tamper={cheater: [says(round_, place)]}, drop=reports)
    outcomes.assert_no_blame(SessionMismatch)
    for node in outcomes.honest:
        assert shows(node) == ({0} if len(signers.S) == 2 else {0, 1})
        part = parts[node.party.index]
        assert part.state is (State.ANSWERED if durable(node) else State.DESTROYED)


def test_a_dispute_does_not_wait_for_ever_for_who_shows_nothing() -> None:
    def drop(posted: Posted) -> bool:
        return reports(posted) or silent(2, kind=Kind.SHOW)(posted)

    outcomes = THREE.sign_with_made_stock(
        REQUEST, tamper={2: [says(2, lambda v: [b"q" * 32, v[1]])]}, drop=drop
    )
    outcomes.assert_no_blame(SessionMismatch)


def test_a_dispute_tells_what_it_waits_for() -> None:
    parts = TWO.made_stock()
    e = parts[1].promise(REQUEST.digest, (), 0, lambda size: b"e" * size)
    programs = {
        j: (lambda ctx, j=j: sign.stock_sign(ctx, parts[j], TWO.share.chain_code, TWO.owner, REQUEST, e))
        for j in TWO.S
    }
    rule = says(0, lambda v: [v[0], [b"q" * 32, v[1][1]]])
    committee = Committee(programs, 1, kind="sign", round0=Round0.NONE, tamper={2: [rule]})
    committee.drop = silent(2, kind=Kind.SHOW)
    with driven(committee):
        committee.start()
        committee.settle()
        session = committee[1].session
        assert (session.phase, session.waiting_for) == ("sign.r0.show", (holder(2),))
        assert not session.finished
        committee.expire()
        assert isinstance(committee[1].error, SessionMismatch)


def test_a_show_of_what_is_the_same_disturbs_nobody() -> None:
    """A signer shows though nothing is in dispute: the others show too, once, and sign."""
    parts = THREE.made_stock()
    e = parts[1].promise(REQUEST.digest, (), 0, lambda size: b"e" * size)
    programs = {
        j: (lambda ctx, j=j: sign.stock_sign(ctx, parts[j], THREE.share.chain_code, THREE.owner, REQUEST, e))
        for j in THREE.S
    }
    with driven(Committee(programs, 3, kind="sign", round0=Round0.NONE, cheaters=[2])) as committee:
        committee.start(1, 2)
        committee.settle()
        (accepted,) = committee[2].bodies()
        signed = sign_body(accepted, identity_of(holder(2)).sign)
        show = replace(accepted, kind=Kind.SHOW, payload=encode([signed.as_value()]))
        for recipient in (1, 4):
            committee.send(committee.forge(show), recipient)
            committee.send(committee.forge(show), recipient)
        committee.start(4)
        committee.settle()
        assert committee[1].result is not None
        assert committee[4].result == committee[1].result
        assert [body.round for body in committee[1].bodies() if body.kind is Kind.SHOW] == [0]


def test_silence_is_no_dispute() -> None:
    outcomes = THREE.stock_sign(REQUEST, drop=silent(2, round_=2, kind=Kind.MSG), cheaters=[2])
    for node in outcomes.honest:
        assert isinstance(node.error, Timeout)
        assert shows(node) == set()
