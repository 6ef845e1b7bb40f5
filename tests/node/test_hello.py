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
    seen=st.lists(st.tuples(points, boots), max_size=66).map(tuple),
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
        replace(PLAIN, seen=((1, bytes(16)),) * 67),
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


def test_as_it_stands_on_the_wire():
    """The form that every release of this format has to read and write."""
    hello = Hello(
        "1.0", bytes(16), 1, 1_700_000_000, ((2, b"b" * 16),), b"a" * 32, frozenset([b"t" * 16]), (b"p" * 32,), (), (),
        (StockNote(b"t" * 16, (1, 2), 1, 5),),
    )  # fmt: skip
    assert hello.encode() == bytes.fromhex(
        "06000001360000000c030000000200010200000003312e3001000000100000000000000000000000000000000003000000020001030000"
        "0005006553f100060000002900000001060000002000000002030000000200020100000010626262626262626262626262626262620100"
        "00002061616161616161616161616161616161616161616161616161616161616161610600000019000000010100000010747474747474"
        "74747474747474747474060000002900000001010000002070707070707070707070707070707070707070707070707070707070707070"
        "70060000000400000000060000000400000000060000004700000001060000003e00000004010000001074747474747474747474747474"
        "74747406000000120000000203000000020001030000000200020300000002000103000000020005"
    )
    assert Hello.decode(hello.encode()) == hello


TOP = (1 << 32) - 1
LARGEST = Hello(
    "v" * 64,
    b"b" * 16,
    (1 << 63) - 1,
    (1 << 63) - 1,
    ((TOP, b"b" * 16),) * 66,
    b"a" * 32,
    frozenset(i.to_bytes(16) for i in range(9)),
    *((b"s" * 32,) * 64,) * 3,
    (StockNote(b"t" * 16, (TOP,) * 16, TOP, TOP),) * 1024,
)


def test_the_largest_hello_and_anything_beyond_it():
    assert Hello.decode(LARGEST.encode()) == LARGEST
    (note, *_) = LARGEST.stock
    for beyond in (
        {"version": "v" * 65},
        {"boot": b"b" * 17},
        {"number": 1 << 63},
        {"time": 1 << 63},
        {"seen": ((1, b"b" * 16),) * 67},
        {"seen": ((TOP + 1, b"b" * 16),)},
        {"seen": ((1, b"b" * 17),)},
        {"aux_id": b"a" * 33},
        {"tags": frozenset([b"t" * 17])},
        {"pending": (b"s" * 33,)},
        *({name: (b"s" * 32,) * 65} for name in ("pending", "certificates", "blocked")),
        {"stock": LARGEST.stock + LARGEST.stock[:1]},
        *(
            {"stock": (replace(note, **{name: TOP + 1}),)} for name in ("owner", "count")
        ),
        {"stock": (replace(note, signers=(TOP,) * 17),)},
        {"stock": (replace(note, tag=b"t" * 17),)},
    ):  # fmt: skip
        with pytest.raises(SchemaViolation):
            Hello.decode(replace(PLAIN, **beyond).encode())


def test_as_many_accounts_as_a_hello_may_name():
    tags = [i.to_bytes(16) for i in range(65537)]
    assert Hello.decode(replace(PLAIN, tags=frozenset(tags[:-1])).encode()).tags == frozenset(tags[:-1])
    with pytest.raises(SchemaViolation):
        Hello.decode(replace(PLAIN, tags=frozenset(tags)).encode())


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


def test_tags_are_the_same_in_every_release():
    """Or nodes of two releases would not know each other's accounts."""
    base = (b"c" * 32, "alice", b"e" * 32)
    assert account_tag(*base, None).hex() == "fb5cc0b166d50bf8cd041413820f4d03"
    assert account_tag(*base, b"a" * 32).hex() == "2999be265c73b53a42e06798df79b1d6"


def test_a_tag_does_not_show_the_account():
    assert b"alice" not in account_tag(b"c" * 32, "alice", b"e" * 32, None)


def test_the_body_stands_under_the_committees_id_and_goes_to_all():
    body = hello_body("proto", b"c" * 32, holder(2), PLAIN)
    assert (body.sid, body.kind, body.round, body.to, body.sender) == (
        b"c" * 32, Kind.HELLO, 0, None, holder(2),
    )  # fmt: skip
    assert Hello.decode(body.payload) == PLAIN
