from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from participant.node.hello import (
    BOOT_BYTES,
    HELLO_FORMAT,
    MAX_SIDS,
    MAX_STOCK,
    TAG_BYTES,
    Hello,
    StockNote,
    account_tag,
    hello_body,
)
from tss.encoding import encode
from tss.envelope import Kind, holder
from tss.errors import SchemaViolation

PLAIN = Hello("1.0", bytes(16), 1, 1_700_000_000, (), None, frozenset(), (), (), (), ())

boots = st.binary(min_size=BOOT_BYTES, max_size=BOOT_BYTES)
tags = st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES)
sids = st.binary(min_size=32, max_size=32)
points = st.integers(0, 2**32 - 1)
notes = st.builds(StockNote, tags, st.lists(points, min_size=1, max_size=16).map(tuple), points, points)
hellos = st.builds(
    Hello,
    version=st.text(max_size=16),
    boot=boots,
    number=st.integers(0, 2**63 - 1),
    time=st.integers(0, 2**63 - 1),
    seen=st.lists(st.tuples(points, boots), max_size=34).map(tuple),
    aux_id=st.none() | sids,
    tags=st.none() | st.frozensets(tags, max_size=5),
    pending=st.lists(sids, max_size=3).map(tuple),
    certificates=st.lists(sids, max_size=3).map(tuple),
    blocked=st.lists(sids, max_size=3).map(tuple),
    stock=st.lists(notes, max_size=3).map(tuple),
)


@given(hellos)
def test_what_is_said_is_what_is_heard(hello):
    assert Hello.decode(hello.encode()) == hello


def test_equal_sets_of_tags_are_equal_bytes():
    many = [bytes([i]) * TAG_BYTES for i in range(9)]
    one = replace(PLAIN, tags=frozenset(many))
    assert one.encode() == replace(PLAIN, tags=frozenset(reversed(many))).encode()


@pytest.mark.parametrize(
    "hello",
    [
        replace(PLAIN, boot=bytes(15)),
        replace(PLAIN, number=-1),
        replace(PLAIN, version="v" * 65),
        replace(PLAIN, seen=((1, bytes(16)),) * 35),
        replace(PLAIN, tags=frozenset([bytes(15)])),
        replace(PLAIN, aux_id=bytes(31)),
        replace(PLAIN, pending=(bytes(32),) * (MAX_SIDS + 1)),
        replace(PLAIN, certificates=(bytes(32),) * (MAX_SIDS + 1)),
        replace(PLAIN, blocked=(bytes(32),) * (MAX_SIDS + 1)),
        replace(PLAIN, stock=(StockNote(bytes(16), (), 1, 1),)),
        replace(PLAIN, stock=(StockNote(bytes(16), (1,) * 17, 1, 1),)),
        replace(PLAIN, stock=(StockNote(bytes(16), (1,), 1, 1),) * (MAX_STOCK + 1)),
    ],
)
def test_what_is_out_of_bounds_is_refused(hello):
    with pytest.raises(SchemaViolation):
        Hello.decode(hello.encode())


def test_another_format_is_refused_by_its_number():
    values = [HELLO_FORMAT + 1, "1", bytes(16), 1, 1, [], None, [], [], [], [], []]
    with pytest.raises(SchemaViolation, match=f"format {HELLO_FORMAT + 1}"):
        Hello.decode(encode(values))
    with pytest.raises(SchemaViolation):
        Hello.decode(b"")


def test_a_tag_is_common_to_those_with_the_same_pair_of_the_same_account_only():
    base = (b"c" * 32, "alice", b"e" * 32, b"a" * 32)
    tag = account_tag(*base)
    assert len(tag) == TAG_BYTES
    assert account_tag(*base) == tag
    others = [
        (b"d" * 32, *base[1:]),
        (base[0], "bob", *base[2:]),
        (*base[:2], b"f" * 32, base[3]),
        (*base[:3], b"b" * 32),
        (*base[:3], None),
    ]
    assert len({tag, *(account_tag(*other) for other in others)}) == 6


def test_a_tag_does_not_show_the_account():
    assert b"alice" not in account_tag(b"c" * 32, "alice", b"e" * 32, None)


def test_the_body_stands_under_the_committees_id_and_goes_to_all():
    body = hello_body("proto", b"c" * 32, holder(2), PLAIN)
    assert (body.sid, body.kind, body.round, body.to, body.sender) == (
        b"c" * 32, Kind.HELLO, 0, None, holder(2),
    )  # fmt: skip
    assert Hello.decode(body.payload) == PLAIN
