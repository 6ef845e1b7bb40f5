"""Whatever is put into evidence, a judge gives a verdict: messages of colluders, values that no protocol takes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cggmp24_cheating import changed
from cggmp24_testing import X_ZERO_LOG
from judging_colluders import colluding, under
from judging_testing import CASES, CHEATER, SIGNERS, SUITES, Case, LiesInDelta, place_of, z_of_aff_g_star
from presign_cheating import REQUEST, cheating
from session_testing import Anything, encode_any, identity_of
from tss_testing import TINY

from tss.cggmp24 import presign
from tss.cggmp24.presign import MAX_BATCH, Presigning
from tss.cggmp24.presign_prove import Item
from tss.echo import echo_of
from tss.effects import Echo, Receive
from tss.encoding import Bytes, decode, encode
from tss.envelope import Body, Kind, Slot, decode_body, holder, sign
from tss.errors import SchemaViolation
from tss.evidence import Claim
from tss.groups import Point
from tss.judge import judge
from tss.judge.reader import Needs, always
from tss.judge.readers import READERS
from tss.judge.record import NotProven, Preimage, Record
from tss.proposal import FROST_TAILS, TAILS

Q, G, O = TINY.group.q, TINY.group.G, TINY.group.identity  # noqa: E741 - the paper's symbol


def mutated(value: Any, dice: random.Random) -> Any:
    """One value somewhere inside, changed into something of the same or of another kind."""
    if isinstance(value, list) and value and dice.random() < 0.9:
        place = dice.randrange(len(value))
        return changed(value, place, lambda old: mutated(old, dice))
    if isinstance(value, Point):
        return dice.choice((O, value + G, -value, b"point"))
    if isinstance(value, bytes):
        return dice.choice((b"", bytes(len(value)), value + b"\0", 7))
    if isinstance(value, int):
        return dice.choice((0, 1, -1, -value, value + 1, 2 * value, 1 << 300, b"number"))
    return dice.choice(([], None, [None] * 3, "text"))


def resigned(case: Case, dice: random.Random) -> Claim:
    """A message changed and signed by its sender, and all that the accused says of it changed with it: a colluder's."""
    place = dice.randrange(len(case.claim.messages))
    body = decode_body(case.claim.messages[place][0])
    value = mutated(decode(body.payload, Anything(TINY.group)), dice)
    return case.instead(place, replace(body, payload=encode_any(value)))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_verdict_comes_of_whatever_was_signed(case: Case) -> None:
    for seed in range(5):
        dice = random.Random(repr((case.check, seed)))
        claim = resigned(case, dice)
        verdict = case.verdict(claim)
        assert verdict.accused == holder(CHEATER), f"seed {seed}"


TAIL = 7
S, X_EFF, AUX, BATCH = TAIL + 4, TAIL + 5, TAIL + 6, TAIL + 8


@pytest.mark.parametrize(
    "check", ["presign.r1.item0.k", "presign.r2.item0.gamma", "presign.abort-delta.item0.dec"]
)
@pytest.mark.parametrize(
    "change",
    [
        lambda p: changed(p, S, [1, 2]),
        lambda p: changed(p, S, [1, 2, 4]),
        lambda p: changed(p, X_EFF, lambda X: X[:2]),
        lambda p: changed(p, AUX, lambda a: a[:2]),
        lambda p: changed(changed(p, X_EFF, lambda X: X[:2]), AUX, lambda a: a[:2]),
        lambda p: changed(p, BATCH, 0),
        lambda p: changed(p, BATCH, 65),
        *(
            lambda p, place=place, new=new: changed(p, AUX, lambda a: [changed(a[0], place, new), *a[1:]])
            for place in range(4)
            for new in (0, 1)
        ),
    ],
)  # fmt: skip
def test_a_session_that_nobody_honest_joins(check: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """Its id says what cannot be; all who signed in it agreed to that, and nobody is proven guilty."""
    case = CASES[check]
    verdict = judge(under(case, change), case.identities, SUITES)
    assert (verdict.guilty, verdict.cleared) == (False, False), verdict


def test_the_same_session_under_another_id_is_another_lie() -> None:
    """The hand above makes evidence that holds: with a tail that says the same of the check it proves the same."""
    case = CASES["presign.r1.item0.k"]
    assert judge(under(case, lambda p: changed(p, TAIL + 7, 3)), case.identities, SUITES).guilty


def test_as_many_items_as_a_session_may_have() -> None:
    """The messages of the one item there is are not those of so large a batch."""
    case = CASES["presign.r1.item0.k"]
    verdict = judge(under(case, lambda p: changed(p, BATCH, MAX_BATCH)), case.identities, SUITES)
    assert (verdict.guilty, verdict.check) == (True, "presign.r1.schema"), verdict


def test_presigning_for_stock_has_no_partial_signatures() -> None:
    case = CASES["presign.r1.item0.k"]
    verdict = case.verdict(replace(case.claim, check="presign.r4.schema"))
    assert "has no round 4" in verdict.reason


def test_a_gamma_that_is_none_is_a_fault_of_round_2() -> None:
    case = CASES["presign.r2.item0.gamma"]
    written = colluding(case, 2, {CHEATER: lambda items: [changed(items[0], 0, O)]})
    verdict = judge(written, case.identities, SUITES)
    assert (verdict.guilty, verdict.check) == (True, "presign.r2.item0.Gamma"), verdict


@pytest.mark.parametrize("check", ["aux.r3.fac", "refresh.r3.fac"])
def test_ring_parameters_of_a_recipient_that_nobody_proves_anything_with(check: str) -> None:
    """Each of them passed in round 2, or nobody would have gone on; whoever made this did not."""
    case = CASES[check]
    written = colluding(case, 2, {1: lambda value: changed(value, 3, value[2])})
    verdict = judge(written, case.identities, SUITES)
    assert (verdict.guilty, verdict.cleared) == (False, False)
    assert "s equals t" in verdict.reason


@pytest.mark.parametrize(
    "check", ["keygen.r2.share", "aux.r3.fac", "presign.r1.item0.k", "presign.r2.item0.gamma"]
)
def test_a_message_that_is_missing_is_named(check: str) -> None:
    case = CASES[check]
    (told,) = (k for k, body in enumerate(case.bodies) if body.to is not None)
    verdict = case.verdict(case.without(told))
    assert f"own message of round {case.bodies[told].round} to its accuser" in verdict.reason


def test_the_end_of_auxiliary_information_is_a_round_too() -> None:
    case = CASES["aux.r3.fac"]
    verdict = case.verdict(replace(case.claim, check="aux.r15.schema"))
    assert "own done of round 15 is missing" in verdict.reason


def test_the_others_of_a_key_generation_that_revealed_too_little() -> None:
    """Whoever goes on from there colludes with them."""
    case = CASES["keygen.r3.sch"]
    fewer = colluding(case, 2, {3: lambda value: changed(value, 1, lambda S: S[:1])})
    assert "another number of coefficients" in judge(fewer, case.identities, SUITES).reason
    # A reveal that cannot be read is no context at all.
    none = colluding(case, 2, {3: lambda value: changed(value, 1, 5)})
    assert "cannot be read" in judge(none, case.identities, SUITES).reason


def test_a_key_that_is_none() -> None:
    case = CASES["keygen.r3.sch"]

    def cancels(value: Any) -> Any:
        return changed(value, 1, [O, O])

    verdict = judge(colluding(case, 2, {1: cancels, 3: cancels, 2: cancels}), case.identities, SUITES)
    assert "the check cannot be made" in verdict.reason
    assert (verdict.accused, verdict.check, verdict.section) == (holder(CHEATER), case.claim.check, "")


def test_a_recipients_k_that_is_no_ciphertext() -> None:
    """It is the recipient's own fault, of round 1; nothing is proven about masks that were made for it."""
    case = CASES["presign.r2.item0.gamma"]
    written = colluding(case, 1, {1: lambda items: [changed(items[0], 0, 0)]})
    verdict = judge(written, case.identities, SUITES)
    assert (verdict.guilty, verdict.cleared) == (False, False)
    assert "K of the recipient is outside" in verdict.reason


@pytest.mark.parametrize("log", [0, X_ZERO_LOG], ids=["O", "x is 0"])
def test_a_nonce_point_of_no_use(log: int) -> None:
    """Nobody goes on, and nobody is proven guilty of what it says about it."""
    case = CASES["presign.r3.item0.elog"]
    points = {1: G, 2: G, 3: (log - 2) % Q * G}
    by = {j: lambda items, P=P: [changed(items[0], 0, P)] for j, P in points.items()}
    verdict = judge(colluding(case, 2, by), case.identities, SUITES)
    assert "nobody goes on with it" in verdict.reason


@pytest.mark.parametrize("about", ["open", "item", "aff-g*:C^z"])
def test_a_claim_about_an_earlier_step_of_an_identification_is_judged_by_it(about: str) -> None:
    """Who lied in round 3 opens truly, of the right item, and proves what it made; the claim about its sum stands."""
    case = CASES["presign.abort-delta.item0.dec"]
    verdict = case.verdict(replace(case.claim, check=f"presign.abort-delta.item0.{about}"))
    assert (verdict.guilty, verdict.cleared) == (False, True), verdict


def test_a_claim_about_the_other_case_of_an_identification_is_not_proven() -> None:
    case = CASES["presign.abort-delta.item0.dec"]
    verdict = case.verdict(replace(case.claim, check="presign.abort-chi.item0.dec"))
    assert "it is not chi that failed" in verdict.reason
    for end in ("", ".item0", ".item0.open.x", ".item0.x"):
        assert case.verdict(replace(case.claim, check=f"presign.abort-delta{end}")).guilty, (
            "all of it is judged"
        )


def test_opening_an_item_that_the_batch_does_not_have() -> None:
    """What there is to open nobody knows; it is the wrong item all the same."""
    case = CASES["presign.abort-delta.item0.item"]
    verdict = case.verdict(replace(case.claim, check="presign.abort-delta.item0.open"))
    assert (verdict.guilty, verdict.check) == (True, "presign.abort-delta.item0.item"), verdict


def test_nothing_is_identified_where_everything_fits_together() -> None:
    """The liar takes its lie in round 3 back, and all saw it."""
    case = CASES["presign.abort-delta.item0.dec"]
    written = colluding(
        case, 3, {CHEATER: lambda value: [[changed(value[0][0], 0, lambda d: (d - 1) % Q)], value[1]]}
    )
    verdict = judge(written, case.identities, SUITES)
    assert (verdict.guilty, verdict.cleared) == (False, False)
    assert "it is not delta that failed" in verdict.reason


def test_a_k_that_is_no_ciphertext_identifies_nobody() -> None:
    """Neither the accused nor anybody else gets so far with it."""
    case = CASES["presign.abort-delta.item0.dec"]
    for party in (1, CHEATER, 3):
        written = colluding(case, 1, {party: lambda items: [changed(items[0], 0, 0)]})
        verdict = judge(written, case.identities, SUITES)
        assert (verdict.guilty, verdict.cleared) == (False, False)
        assert "K is outside" in verdict.reason, verdict


def test_whoever_fails_an_earlier_step_comes_before_who_fails_the_last() -> None:
    case = CASES["presign.abort-delta.item0.dec"]
    (place,) = (k for k, body in enumerate(case.bodies) if place_of(body) == "3 msg 5")
    body = case.bodies[place]
    echo, (k, opened, proofs, *rest) = decode(body.payload, Anything(TINY.group))
    value = [echo, [k, opened, z_of_aff_g_star(proofs), *rest]]
    verdict = case.verdict(case.instead(place, replace(body, payload=encode_any(value))))
    assert (verdict.guilty, verdict.cleared) == (False, False)
    assert "party 3 fails before the accused does" in verdict.reason


class LiesInTheSecond(LiesInDelta):
    """Of a batch."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        second = item.isid == self.ctx.hc("item", self.ctx.sid, 1)
        return super().open_masks(item, received) if second else Presigning.open_masks(self, item, received)


def test_the_lowest_failing_item_of_a_batch_is_judged() -> None:
    run = partial(SIGNERS.presign, batch=2, programs={CHEATER: cheating(LiesInTheSecond, 2)})
    case = Case("presign.abort-delta.item1.dec", "4.2", run)
    verdict = case.verdict(case.evidence)
    assert (verdict.guilty, verdict.section) == (True, "4.2"), verdict
    assert verdict.check.startswith(case.check)


def test_what_a_step_always_needs() -> None:
    needs = always((1, 2), (3,), told=(4,))("any check")
    assert needs == Needs(own=frozenset({1, 2}), told=frozenset({4}), context=frozenset({3}))
    assert always((1,))("any check") == Needs(own=frozenset({1}))


def test_identification_in_full_signing() -> None:
    """It comes in the place of the partial signatures, without an echo of them."""
    lies = lambda ctx: presign._rounds(SIGNERS.presigning(ctx, LiesInDelta), 1, b"e" * 32)  # noqa: E731 - as in its place
    run = partial(SIGNERS.full_sign, REQUEST, programs={CHEATER: lies})
    case = Case("presign.abort-delta.item0.dec", "4.2", run)
    verdict = case.verdict(case.evidence)
    assert (verdict.guilty, verdict.section) == (True, "4.2"), verdict
    assert verdict.check.startswith(case.check)


def test_every_kind_of_session_has_its_reader() -> None:
    assert set(READERS) == set(TAILS) | set(FROST_TAILS)


# -- a protocol of its own ---------------------------------------------------------------------------------------


def record(*bodies: Body, rounds: tuple[Receive, ...]) -> Record:
    """One whose rounds are not those of any protocol here."""
    members = {holder(i): identity_of(holder(i)).public for i in (1, 2)}
    session = Preimage("test", TINY, SID, b"p" * 32, members, [])
    claim = Claim(TINY.proto, (), holder(2), "test.r1", ())
    signed = [sign(body, identity_of(body.sender).sign) for body in bodies]
    own = {one.body.slot: one for one in signed if one.body.sender == holder(2)}
    others: dict[Slot, list[Any]] = {one.body.slot: [one] for one in signed if one.body.sender != holder(2)}
    return Record(claim, (session,), rounds, own, others)


SID = b"s" * 32
PRIVATE_ONLY = Receive(1, p2p=Bytes(1), echo=Echo.NONE)


def said(round_: int, sender: int, payload: Any = None) -> Body:
    return Body(TINY.proto, SID, round_, Kind.MSG, holder(sender), None, encode([None, payload]))


def test_a_round_in_which_nobody_broadcasts() -> None:
    of = record(said(1, 2), said(1, 1), rounds=(PRIVATE_ONLY,))
    for ask in (lambda: of.said(1), lambda: of.own_word(holder(1), 1), lambda: of.said(2)):
        with pytest.raises(NotProven):
            ask()


def test_context_of_a_round_in_which_nobody_broadcasts() -> None:
    echo = echo_of(TINY.proto, SID, 1, {holder(i): said(1, i).encode() for i in (1, 2)})
    vouched = Body(TINY.proto, SID, 1, Kind.ECHO, holder(2), None, encode(echo.as_value()))
    of = record(said(1, 1), said(1, 2), vouched, rounds=(PRIVATE_ONLY,))
    assert of.context(Slot(SID, 1, Kind.MSG, holder(1), None)).body == said(1, 1)
    with pytest.raises(NotProven, match="nobody broadcasts in it"):
        of.broadcast(holder(1), 1)


def test_an_echo_that_cannot_be_read_vouches_for_nothing() -> None:
    for payload in (b"", encode([b"E" * 32, [[["holder", 1], bytes(32)]]])):
        vouched = Body(TINY.proto, SID, 1, Kind.ECHO, holder(2), None, payload)
        of = record(said(1, 1), vouched, rounds=(Receive(1, broadcast=Bytes(1), echo=Echo.BLOCKING),))
        with pytest.raises(NotProven, match="signed echo of round 1 is missing"):
            of.context(Slot(SID, 1, Kind.MSG, holder(1), None))


def test_a_word_of_another_party_that_cannot_be_read() -> None:
    of = record(said(1, 1, 5), rounds=(Receive(1, broadcast=Bytes(1), echo=Echo.NONE),))
    with pytest.raises(NotProven, match="cannot be read"):
        of.own_word(holder(1), 1)


BLOCKING, TRAVELLING = (Receive(1, broadcast=Bytes(1), echo=echo) for echo in (Echo.BLOCKING, Echo.NEXT))
SECOND = Receive(2, broadcast=Bytes(1), echo=Echo.NONE)


def test_a_word_of_another_party_with_the_echo_that_travels_in_it() -> None:
    echo = echo_of(TINY.proto, SID, 1, {holder(i): said(1, i, b"x").encode() for i in (1, 2)}).as_value()
    carrying = replace(said(2, 1), payload=encode([echo, b"y"]))
    assert record(carrying, rounds=(TRAVELLING, SECOND)).own_word(holder(1), 2) == b"y"
    with pytest.raises(NotProven, match="no echo where one is due"):
        record(said(2, 1, b"y"), rounds=(TRAVELLING, SECOND)).own_word(holder(1), 2)


def test_an_echo_vouches_for_a_message_in_its_senders_name_alone() -> None:
    """Nor does a broadcast vouch for anything in which no echo travels."""
    slot, heard = Slot(SID, 1, Kind.MSG, holder(1), None), said(1, 1, b"x")
    echo = echo_of(TINY.proto, SID, 1, {holder(1): b"something else", holder(2): heard.encode()})
    vouched = Body(TINY.proto, SID, 1, Kind.ECHO, holder(2), None, encode(echo.as_value()))
    with pytest.raises(NotProven, match="not the one that the accused's echo lists"):
        record(heard, vouched, rounds=(BLOCKING,)).context(slot)
    with pytest.raises(NotProven, match="party 1's message of round 1 is missing"):
        record(vouched, rounds=(BLOCKING,)).context(slot)
    with pytest.raises(NotProven, match="signed echo of round 1 is missing"):
        record(heard, said(2, 2, b"y"), rounds=(TRAVELLING, SECOND)).context(slot)


def test_what_is_no_evidence_is_said_to_be_none() -> None:
    for data in (b"", b"\0" * 100, encode(["evidence/v1"])):
        with pytest.raises(SchemaViolation):
            judge(data, {}, SUITES)
