"""Refresh, resharing and recovery before a judge: honest parties are cleared, and what others did wrong proves nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from cggmp24_cheating import changed, reports
from cggmp24_testing import dealt_key, refresh_program, run_refresh
from false_accusers import accuses, ends, sends
from judging_colluders import colluding
from judging_testing import SUITES, Case, write
from reshare_testing import Loss, Move, dealer, helper, new, recipient
from session_testing import Outcomes, Program, identity_of, tells
from tss_testing import TINY, TINY_WITHOUT_AUX

from tss.cggmp24 import recover, refresh
from tss.effects import Effect, Protocol, Receive, SessionContext
from tss.envelope import holder
from tss.errors import BadShare
from tss.evidence import Claim, read_claim
from tss.judge import judge
from tss.judge.readers import READERS
from tss.judge.record import NotProven, Preimage
from tss.params import FROST_ED25519

MOVE, LOSS = Move(), Loss()
LAST = Loss(FROST_ED25519, 4, 3, (1, 2, 4), 3)
"""Without a chain code the last helper tells nobody anything in round 1."""
PLAIN = Move(TINY_WITHOUT_AUX)
KNOWN = SUITES | {suite.proto: suite for suite in (FROST_ED25519, TINY_WITHOUT_AUX)}


def waits(effect: Effect) -> bool:
    return isinstance(effect, Receive) and effect.round == 2


def blames_in_the_end(ctx: SessionContext) -> Protocol[Any]:
    yield from recover.recover(ctx, LOSS.terms)
    raise BadShare("so it says").blame(helper(1), "recover.r2.share")


class Refresh:
    """Of one key of Ed25519."""

    key = dealt_key(FROST_ED25519, 3, 2, chain_code=b"")

    def program(self, index: int) -> Program:
        return refresh_program([self.key[index]], None)

    def run(self, seed: object, **options: Any) -> Outcomes:
        return run_refresh([self.key], seed, **options)


FALSE = [
    pytest.param(
        MOVE, 2, accuses(MOVE.program(new(2)), sends(3), 4, "reshare.r2.share"), id="what a dealer dealt"
    ),
    pytest.param(
        MOVE, 2, accuses(MOVE.program(new(2)), sends(3), 1, "reshare.r2.decommit"), id="what a holder opened"
    ),
    pytest.param(
        MOVE, 2, accuses(MOVE.program(new(2)), ends, 4, "reshare.r3.chain code"), id="a dealer's chain code"
    ),
    pytest.param(
        MOVE, 2, accuses(MOVE.program(new(2)), ends, 1, "reshare.r3.fac:P unit"), id="a holder's proofs"
    ),
    pytest.param(
        LOSS, 2, accuses(LOSS.program(2), waits, 1, "recover.r1.chain code"), id="a helper's chain code"
    ),
    pytest.param(
        LOSS, 5, accuses(LOSS.program(5), sends(2), 1, "recover.r1.z"), id="a helper's pairwise key"
    ),
    pytest.param(
        LOSS, 5, accuses(LOSS.program(5), sends(2), 2, "recover.r1.role"), id="what a recipient says"
    ),
    pytest.param(LOSS, 2, blames_in_the_end, id="a helper's contribution"),
    pytest.param(
        LAST,
        1,
        accuses(LAST.program(1), sends(2), 4, "recover.r1.record"),
        id="whoever tells nobody anything",
    ),
    pytest.param(
        PLAIN,
        2,
        accuses(PLAIN.program(new(2)), ends, 1, "reshare.r3.sch:z*G = A + e*X"),
        id="a holder without aux",
    ),
    pytest.param(
        Refresh(), 2, accuses(Refresh().program(2), ends, 1, "refresh.r3.sch:z*G = A + e*X"), id="without aux"
    ),
]


def shown(run: Any, accuser: int, program: Any) -> tuple[Claim, dict[Any, bytes]]:
    outcomes: Outcomes = run.run(("honest", accuser), programs={accuser: program}, drop=reports)
    (error,) = [node.error for node in outcomes.nodes.values() if isinstance(node.error, BadShare)]
    assert error.evidence is not None
    return read_claim(error.evidence), {
        member.party: member.identity for member in outcomes.committee.members
    }


@pytest.mark.parametrize(("run", "accuser", "program"), FALSE)
def test_an_honest_party_is_cleared(run: Any, accuser: int, program: Any) -> None:
    claim, identities = shown(run, accuser, program)
    verdict = judge(write(claim), identities, KNOWN)
    assert (verdict.guilty, verdict.cleared) == (False, True), verdict
    for place in range(len(claim.messages)):
        messages = claim.messages[:place] + claim.messages[place + 1 :]
        assert not judge(write(replace(claim, messages=messages)), identities, KNOWN).guilty


def test_a_recipient_contributes_nothing() -> None:
    claim, identities = shown(*FALSE[6].values)
    verdict = judge(write(replace(claim, check="recover.r2.share")), identities, SUITES)
    assert (verdict.guilty, verdict.cleared, verdict.reason) == (
        False,
        False,
        "the recipient contributes nothing",
    )


# -- what another than the accused did ---------------------------------------------------------------------------


def record(
    kind: str, tail: list[Any], parties: list[Any], accused: Any, said: Any, others: dict[Any, Any]
) -> Any:
    members = {party: identity_of(party).public for party in parties}
    session = Preimage(kind, TINY, b"s" * 32, b"p" * 32, members, tail)
    return SimpleNamespace(
        session=session,
        accused=accused,
        ctx=SimpleNamespace(suite=TINY),
        said=lambda _round: said,
        told=lambda _round: {parties[0]: 1},
        need_told=lambda _told, _round: None,
        broadcasts=lambda _round: others,
    )


def test_others_who_reveal_too_much_prove_nothing_against_one() -> None:
    key = dealt_key(TINY, 2, 2)
    parties = [holder(1), holder(2)]
    G = TINY.group.G
    reveals = {holder(1): [b"", b"", [[[G], G]]], holder(2): [b"", b"", [[[G, G], G]]]}
    claim = record("refresh", refresh.tail([key[1]], [None]), parties, holder(1), [None, []], reveals)
    with pytest.raises(NotProven, match="another number of coefficients"):
        READERS["refresh"].steps["r3"].check(claim)


@pytest.mark.parametrize(
    ("place", "value"),
    [(dealer(5), [None, None]), (dealer(5), [[[TINY.group.G], b""], None]), (new(3), [None, None])],
    ids=["a dealer opens nothing", "a dealer opens too little", "a holder opens nothing"],
)
def test_others_who_open_something_else_prove_nothing_against_one(place: Any, value: Any) -> None:
    G = TINY.group.G
    opened: dict[Any, Any] = {
        party: [[[G, G], b""], None] for party in MOVE.parties if party.role == "dealer"
    }
    opened |= {party: [None, [G, b"r" * 32, b"u"]] for party in MOVE.parties if party.role == "new"}
    claim = record("reshare", MOVE.terms.tail(), MOVE.parties, new(1), [None], {**opened, place: value})
    with pytest.raises(NotProven, match="something else than its role has"):
        READERS["reshare"].steps["r3"].check(claim)


@pytest.mark.parametrize(
    ("run", "check", "liar", "lie", "by"),
    [
        (MOVE.run, "reshare.r2.share", 4, tells(2, lambda s: (s + 1) % TINY.group.q, to=1), new(1)),
        (MOVE.run, "reshare.r3.chain code", 4, tells(3, lambda _: [b"c" * 32, None], to=1), new(1)),
        (MOVE.run, "reshare.r3.fac", 2, tells(3, lambda v: [None, changed(v[1], 0, 0)], to=1), new(1)),
        (PLAIN.run, "reshare.r3.chain code", 4, tells(3, lambda _: b"c" * 32, to=1), new(1)),
        (LOSS.run, "recover.r1.chain code", 5, tells(1, lambda _: [None, b"c" * 32], to=2), recipient(2)),
        (LOSS.run, "recover.r2.share", 1, tells(2, lambda m: m ^ 1, to=2), recipient(2)),
        (LAST.run, "recover.r1.z", 1, tells(1, lambda v: [v[0] ^ 1, None], to=2), helper(2)),
    ],
    ids=[
        "a share", "a chain code", "a proof for one", "a chain code without aux", "a helper's chain code", "a contribution", "a pairwise key",
    ],
)  # fmt: skip
def test_what_a_claim_is_about_has_to_be_shown(run: Any, check: str, liar: int, lie: Any, by: Any) -> None:
    case = Case(check, "", partial(run, tamper={liar: [lie]}), by=by)
    assert judge(case.evidence, case.identities, KNOWN).guilty
    (told,) = (place for place, body in enumerate(case.bodies) if body.to is not None)
    verdict = case.verdict(case.without(told), suites=KNOWN)
    assert (verdict.guilty, verdict.cleared) == (False, False)
    assert f"own message of round {case.bodies[told].round} to its accuser" in verdict.reason


def test_ring_parameters_of_a_new_holder_that_nobody_proves_anything_with() -> None:
    lie = tells(3, lambda told: [None, changed(told[1], 0, 0)], to=1)
    case = Case("reshare.r3.fac", "2.3", partial(MOVE.run, tamper={2: [lie]}), by=new(1))
    assert judge(case.evidence, case.identities, SUITES).guilty
    written = colluding(case, 2, {1: lambda said: [None, changed(said[1], 4, said[1][3])]})
    verdict = judge(written, case.identities, SUITES)
    assert (verdict.guilty, verdict.cleared) == (False, False)
    assert "s equals t" in verdict.reason


@pytest.mark.parametrize("value", [[None], [[None, []]]], ids=["nothing", "too few keys"])
def test_helpers_who_say_something_else_prove_nothing_against_one(value: Any) -> None:
    said = {helper(i): [[None, [TINY.group.G] * n]] for i, n in ((1, 2), (3, 1), (5, 0))} | {
        recipient(2): [None]
    }
    parties = [helper(1), helper(3), helper(5), recipient(2)]
    claim = record("recover", LOSS.terms.tail(), parties, helper(1), None, {**said, helper(3): value})
    with pytest.raises(NotProven, match="something else than its role has"):
        READERS["recover"].steps["r2"].check(claim)


def test_a_recovery_that_could_not_be() -> None:
    tail = [*LOSS.terms.tail()[:3], 2, *LOSS.terms.tail()[4:]]
    members = {party: identity_of(party).public for party in (helper(1), helper(3), helper(5), recipient(2))}
    with pytest.raises(NotProven, match="no recovery that could be"):
        READERS["recover"].rounds(Preimage("recover", TINY, b"s" * 32, b"p" * 32, members, tail))
