"""The judge's tables: what each check rests on (protocol.md 4.1), which rules there are, how long a preimage's fields are."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from reshare_testing import Move
from session_testing import encode_any, identity_of
from tss_testing import TINY

from tss.envelope import Body, Kind, holder, sign
from tss.errors import SchemaViolation
from tss.judge import Verdict, generic
from tss.judge.proposals import RULES
from tss.judge.reader import Needs
from tss.judge.readers import READERS
from tss.judge.record import NotProven, Preimage, read_preimage

NOTHING: frozenset[int] = frozenset()
IDENTIFICATION = {
    ("abort-delta.item0.open", "4.2", (2, 5), (), ()),
    ("abort-delta.item0.item", "4.2", (1, 2, 3, 5), (), (1, 3)),
    ("abort-delta.item0.aff-g*.1", "4.2", (1, 2, 3, 5), (), (1, 3)),
    ("abort-delta.item0.dec", "4.2", (1, 2, 3, 5), (), (1, 2, 3, 5)),
    ("abort-delta", "4.2", (1, 2, 3, 5), (), (1, 2, 3, 5)),
    ("abort-chi.item7.open", "4.2", (2, 5), (), ()),
    ("abort-chi.item7.item", "4.2", (1, 2, 3, 5), (), (1, 3)),
    ("abort-chi.item7.aff-g*.2", "4.2", (1, 2, 3, 5), (), (1, 3)),
    ("abort-chi.item7.dec", "4.2", (1, 2, 3, 5), (), (1, 2, 3, 5)),
    ("abort-chi", "4.2", (1, 2, 3, 5), (), (1, 2, 3, 5)),
}
PRESIGNING = {
    ("r1", "3.2", (1,), (1,), ()),
    ("r2", "3.2", (1, 2), (2,), (1,)),
    ("r3", "3.2", (1, 2, 3), (), (2,)),
} | IDENTIFICATION
STEPS = {
    "keygen": {("r2", "1", (1, 2), (2,), ()), ("r3", "1", (2, 3), (), (2,))},
    "aux": {("r2", "2.1", (1, 2), (), ()), ("r3", "2.1", (2, 3), (3,), (2,))},
    "refresh": {("r2", "2.2", (1, 2), (2,), ()), ("r3", "2.2", (2, 3), (3,), (2,))},
    "reshare": {("r2", "2.3", (1, 2), (2,), ()), ("r3", "2.3", (2, 3), (3,), (2,))},
    "recover": {("r1", "2.4", (1,), (1,), ()), ("r2", "2.4", (1,), (2,), (1,))},
    "presign": PRESIGNING,
    "full-sign": PRESIGNING | {("partial", "3.5", (2, 3, 4), (), (2, 3))},
    "sign": {("partial", "3.5", (0, 1, 2, 3), (), (0, 2, 3)), ("show", "3.4", (1,), (), ())},
    "frost-keygen": {("r2", "6.2", (1, 2), (), ()), ("r3", "6.2", (2,), (3,), ())},
    "frost-pairs": set(),
    "frost-full-sign": {("partial", "6.2", (1,), (), ())},
    "frost-sign": {("partial", "6.2", (0,), (), ())},
}
"""By kind: a check's id behind the kind, its section, and the rounds of own, told and context messages."""


@pytest.mark.parametrize("kind", STEPS)
def test_what_each_check_rests_on(kind: str) -> None:
    steps = READERS[kind].steps
    assert {step.split(".", maxsplit=1)[0] for step, *_ in STEPS[kind]} == steps.keys()
    for check, section, own, told, context in STEPS[kind]:
        step = steps[check.split(".", maxsplit=1)[0]]
        assert callable(step.check)
        assert step.section == section
        assert step.needs(f"{kind}.{check}") == Needs(frozenset(own), frozenset(told), frozenset(context))


def test_every_kind_of_session_is_read() -> None:
    assert READERS.keys() == STEPS.keys()


def test_the_rules_of_proposals() -> None:
    shown = {check: (rule.kind, rule.count, rule.section) for check, rule in RULES.items()}
    assert shown == {
        "presign.proposal.owner": ("presign", 1, "3.3"),
        "full-sign.proposal.owner": ("full-sign", 1, "3.4"),
        "sign.proposal.owner": ("sign", 1, "3.3"),
        "sign.proposal.request": ("sign", 2, "3.5"),
    }
    assert all(callable(rule.judge) for rule in RULES.values())


def test_a_false_complaint_has_its_name() -> None:
    assert generic.FALSE_COMPLAINT == "complaint.false"


def test_two_verdicts_are_alike_whatever_raised_them() -> None:
    one = Verdict(True, holder(1), "keygen.r2.share", "1", "why")
    two = replace(one, fault=SchemaViolation("a fault"))
    assert one == two
    assert (one.fault, one.cleared) == (None, False)
    assert repr(one) == repr(two)


def session(kind: str, *tail: Any) -> Preimage:
    members = {holder(i): identity_of(holder(i)).public for i in (1, 2)}
    return Preimage(kind, TINY, b"s" * 32, b"p" * 32, members, list(tail))


def account(t: int, n: int) -> list[Any]:
    """A line of a refresh."""
    return [b"k" * 32, TINY.group.G, b"h" * 32, t, b"e" * 32, None, [TINY.group.G] * n]


@pytest.mark.parametrize(("kind", "tail"), [("keygen", (2, 2)), ("aux", ()), ("refresh", ([account(2, 2)],))])
def test_the_rounds_of_sessions_that_make_new_state(kind: str, tail: tuple[Any, ...]) -> None:
    found = [(receive.round, receive.kind) for receive in READERS[kind].rounds(session(kind, *tail))]
    assert found == [(1, Kind.MSG), (2, Kind.MSG), (3, Kind.MSG), (15, Kind.DONE)]


def test_sessions_that_do_not_say_who_takes_part() -> None:
    assert READERS["sign"].rounds(replace(session("sign"), members={})) == ()
    with pytest.raises(NotProven, match="a key generation of 2 of 3 by 2 parties"):
        READERS["keygen"].rounds(session("keygen", 3, 2))
    for t, n in ((1, 2), (3, 2), (2, 3), (2, 1)):
        with pytest.raises(NotProven, match=f"a refresh of {t} of {n} by 2 parties"):
            READERS["refresh"].rounds(session("refresh", [account(2, 2), account(t, n)]))
    move = Move(dealers=(4, 5), new_n=2)
    members = {party: identity_of(party).public for party in move.parties}
    good = replace(session("reshare", *move.terms.tail()), members=members)
    found = [(receive.round, receive.kind) for receive in READERS["reshare"].rounds(good)]
    assert found == [(1, Kind.MSG), (2, Kind.MSG), (3, Kind.MSG), (15, Kind.DONE)]
    for place, wrong in ((5, [5, 4]), (3, 3), (7, 3)):
        with pytest.raises(NotProven, match="no resharing that could be"):
            READERS["reshare"].rounds(
                replace(good, tail=[*good.tail[:place], wrong, *good.tail[place + 1 :]])
            )
    for kind in ("presign", "full-sign"):
        with pytest.raises(NotProven, match="does not say who signs"):
            READERS[kind].rounds(session(kind, b"", None, b"", b"", [1, 3], [], [], 1, 1))


# -- preimages ---------------------------------------------------------------------------------------------------


def preimage(**change: Any) -> bytes:
    fields = {
        "proto": TINY.proto,
        "tag": "sid",
        "kind": "keygen",
        "group": TINY.group.name,
        "level": TINY.level.as_list(),
        "ph": b"p" * 32,
        "accepted": [accepted(1), accepted(2)],
        "t": 2,
        "n": 2,
    }
    return encode_any(list((fields | change).values()))


def accepted(index: int, role: str = "holder", *, identity: bytes | None = None) -> list[Any]:
    return [role, index, identity or identity_of(holder(1)).public, b"n" * 32, b"e" * 32]


def read(encoded: bytes, committee: int = 64) -> Preimage:
    members = {holder(i): identity_of(holder(1)).public for i in range(1, committee + 1)}
    members |= {replace(holder(1), index=2**32 - 1): identity_of(holder(1)).public}
    members |= {replace(holder(1), role="r" * 16): identity_of(holder(1)).public}
    return read_preimage(encoded, TINY.proto, {TINY.proto: TINY}, members)


@pytest.mark.parametrize(
    "parties",
    [[accepted(1)], [accepted(i) for i in range(1, 65)], [accepted(2**32 - 1)], [accepted(1, "r" * 16)]],
    ids=["one", "64", "largest index", "longest role"],
)
def test_preimages_at_the_limits_are_read(parties: list[Any]) -> None:
    found = read(preimage(accepted=parties))
    assert [(party.role, party.index) for party in found.members] == [(p[0], p[1]) for p in parties]
    assert (found.kind, found.ph, found.tail) == ("keygen", b"p" * 32, [2, 2])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"proto": "p" * 64}, "suite is not one"),
        ({"proto": "p" * 65}, "cannot be read"),
        ({"tag": "t" * 16}, "suite is not one"),
        ({"tag": "t" * 17}, "cannot be read"),
        ({"kind": "k" * 16}, "unknown kind"),
        ({"kind": "k" * 17}, "cannot be read"),
        ({"group": "g" * 64}, "suite is not one"),
        ({"group": "g" * 65}, "cannot be read"),
        ({"level": [2**32 - 1] * 5}, "other security parameters"),
        ({"level": [2**32] * 5}, "cannot be read"),
        ({"level": [1] * 4}, "cannot be read"),
        ({"level": [1] * 6}, "cannot be read"),
        ({"accepted": []}, "cannot be read"),
        ({"accepted": [accepted(i) for i in range(1, 66)]}, "cannot be read"),
        ({"accepted": [accepted(1, "r" * 17)]}, "cannot be read"),
        ({"accepted": [accepted(2**32)]}, "cannot be read"),
        ({"accepted": [accepted(1), accepted(1)]}, "repeat"),
        ({"accepted": [accepted(3, identity=b"i" * 32)]}, "other identities"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_preimages_beyond_the_limits(change: dict[str, Any], said: str) -> None:
    with pytest.raises(NotProven, match=said):
        read(preimage(**change))


@pytest.mark.parametrize(("place", "size"), list(product((2, 3, 4), (31, 33))))
def test_the_lengths_of_what_a_party_accepted_with(place: int, size: int) -> None:
    party = accepted(1)
    party[place] = bytes(size)
    with pytest.raises(NotProven, match="cannot be read"):
        read(preimage(accepted=[party]))


# -- acceptances -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "of_stock"),
    [
        ([None, [b"e" * 32, None]], True),
        ([None, [b"e" * 32, [b"r" * 32, 2**512 - 1]]], True),
        ([None, [b"e" * 31, None]], False),
        ([None, [b"e" * 33, None]], False),
        ([None, [b"e" * 32, [b"r" * 31, 1]]], False),
        ([None, [b"e" * 32, [b"r" * 33, 1]]], False),
        ([[b"e" * 32, None], None], False),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_may_be_round_0_of_signing_from_stock(value: Any, of_stock: bool) -> None:  # noqa: FBT001 - a case's outcome
    body = Body(TINY.proto, b"s" * 32, 0, Kind.MSG, holder(2), None, encode_any(value))
    with pytest.raises(NotProven if of_stock else SchemaViolation):
        generic.check_acceptance("keygen", TINY, [sign(body, identity_of(holder(2)).sign)])
