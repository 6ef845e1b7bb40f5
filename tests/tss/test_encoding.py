"""ENC (protocol.md 0.5): what is written, and that nothing else is read."""

from __future__ import annotations

from enum import IntEnum

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from tss_testing import TOY, SeededRng

from tss.encoding import (
    MAX_DEPTH,
    Bytes,
    Integer,
    ListOf,
    Optional,
    PointOf,
    Reader,
    Text,
    Tuple,
    decode,
    encode,
)
from tss.envelope import Kind
from tss.errors import BadPoint, PeerFault, SchemaViolation
from tss.groups import ED25519, SECP256K1

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=300)
G = SECP256K1.G.to_bytes()


class Number(IntEnum):
    TWO = 2


WRITTEN = [
    (b"", "01 00000000"),
    (b"\x00\xff", "01 00000002 00ff"),
    ("", "02 00000000"),
    ("λ", "02 00000002 cebb"),
    (0, "03 00000001 00"),
    (1, "03 00000002 0001"),
    (-1, "03 00000002 0101"),
    (255, "03 00000002 00ff"),
    (256, "03 00000003 000100"),
    (-256, "03 00000003 010100"),
    (1 << 64, "03 0000000a 00 010000000000000000"),
    (SECP256K1.G, "04 00000021 " + G.hex()),
    (SECP256K1.identity, "04 00000001 00"),
    (ED25519.G, "05 00000020 58" + "66" * 31),
    (ED25519.identity, "05 00000020 01" + "00" * 31),
    ([], "06 00000004 00000000"),
    ([1, "a"], "06 00000011 00000002 03 00000002 0001 02 00000001 61"),
    ([[b"x"]], "06 00000013 00000001 06 0000000a 00000001 01 00000001 78"),
    (None, "07 00000000"),
]


@pytest.mark.parametrize(("value", "hexadecimal"), WRITTEN, ids=lambda v: repr(v)[:30])
def test_written_form(value, hexadecimal):
    assert encode(value) == bytes.fromhex(hexadecimal)


def test_forms_of_one_value_are_equal():
    assert encode(mpz(-(1 << 600))) == encode(-(1 << 600))
    assert encode((1, (2, 3))) == encode([1, [2, 3]])
    assert encode(bytearray(b"ab")) == encode(b"ab")
    assert encode(mpz(0)) == encode(0)
    assert encode(Kind.ECHO) == encode("echo")
    assert encode(Number.TWO) == encode(2)


@pytest.mark.parametrize(
    "value", [True, 1.5, {1}, {"a": 1}, object(), [1, 2.0], Ellipsis], ids=lambda value: type(value).__name__
)
def test_types_without_a_form_are_refused(value):
    with pytest.raises(TypeError, match="no ENC form"):
        encode(value)


def nested(depth):
    value = b""
    for _ in range(depth):
        value = [value]
    return value


def nested_schema(depth):
    schema = Bytes(0)
    for _ in range(depth):
        schema = Tuple(schema)
    return schema


@pytest.mark.attack("E7")
def test_depth_limit():
    assert MAX_DEPTH == 6  # protocol.md 0.5
    assert decode(encode([[[[[[b""]]]]]]), nested_list_schema(6)) == [[[[[[b""]]]]]]
    deepest = encode(nested(MAX_DEPTH))
    assert decode(deepest, nested_schema(MAX_DEPTH)) == nested(MAX_DEPTH)
    with pytest.raises(TypeError, match="deeper"):
        encode(nested(MAX_DEPTH + 1))
    too_deep = b"\x06" + (len(deepest) + 4).to_bytes(4, "big") + b"\x00\x00\x00\x01" + deepest
    for schema in (nested_schema(MAX_DEPTH + 1), nested_list_schema(MAX_DEPTH + 1)):
        with pytest.raises(SchemaViolation, match="deeper"):
            decode(too_deep, schema)


def nested_list_schema(depth):
    schema = Bytes(0)
    for _ in range(depth):
        schema = ListOf(schema, 1)
    return schema


INTEGER = Integer(64, signed=True)
MALFORMED = {
    "empty input": ("", INTEGER),
    "header cut": ("03 000000", INTEGER),
    "content cut": ("03 00000002 00", INTEGER),
    "content missing": ("01 00000003", Bytes(3)),
    "trailing byte": ("03 00000001 00 00", INTEGER),
    "two values": ("03 00000001 00 03 00000001 00", INTEGER),
    "unknown tag 0": ("00 00000001 00", INTEGER),
    "unknown tag 8": ("08 00000001 00", INTEGER),
    "unknown tag 255": ("ff 00000001 00", INTEGER),
    "another tag": ("01 00000001 00", INTEGER),
    "negative zero": ("03 00000001 01", INTEGER),
    "long negative zero": ("03 00000002 0100", INTEGER),
    "long zero": ("03 00000002 0000", INTEGER),
    "leading zero": ("03 00000003 000001", INTEGER),
    "negative leading zero": ("03 00000003 010001", INTEGER),
    "sign 2": ("03 00000002 0201", INTEGER),
    "sign 255": ("03 00000002 ff01", INTEGER),
    "no sign byte": ("03 00000000", INTEGER),
    "negative where refused": ("03 00000002 0101", Integer(64)),
    "too long": ("03 0000000a 00 010000000000000000", INTEGER),
    "one bit too long": ("03 00000002 0010", Integer(4)),
    "at the bound": ("03 00000002 000a", Integer(8, below=10)),
    "bytes too short": ("01 00000002 0000", Bytes(3)),
    "bytes too long": ("01 00000004 00000000", Bytes(3)),
    "bytes above maximum": ("01 00000004 00000000", Bytes(1, 3)),
    "text too long": ("02 00000003 616161", Text(2)),
    "text not utf-8": ("02 00000001 ff", Text(2)),
    "text overlong": ("02 00000002 c080", Text(2)),
    "text surrogate": ("02 00000003 eda080", Text(3)),
    "none with content": ("07 00000001 00", Optional(INTEGER)),
    "none where a value is due": ("07 00000000", INTEGER),
    "list without count": ("06 00000003 000000", Tuple()),
    "list shorter than its count": ("06 00000004 00000001", Tuple(INTEGER)),
    "list longer than its count": ("06 0000000a 00000000 03 00000001 00", Tuple()),
    "list with too few items": ("06 00000004 00000000", Tuple(INTEGER)),
    "list with too many items": ("06 00000010 00000002 03 00000001 00 03 00000001 00", Tuple(INTEGER)),
    "list of too many": ("06 00000010 00000002 03 00000001 00 03 00000001 00", ListOf(INTEGER, 0, 1)),
    "list of too few": ("06 00000004 00000000", ListOf(INTEGER, 1, 3)),
    "list with an absurd count": ("06 00000004 ffffffff", ListOf(INTEGER, 0, 3)),
    "list longer than the input": ("06 000000ff 00000000", Tuple()),
    # The inner list claims a byte of its outer list's end; the integer after it would then be read twice.
    "item longer than its list": (
        "06 00000014 00000002 06 00000005 00000000 03 00000002 0001",
        Tuple(Tuple(), INTEGER),
    ),
    "item past the end of its list": (
        "06 00000013 00000002 06 00000004 00000001 03 00000001 00",
        Tuple(Tuple(INTEGER), INTEGER),
    ),
    "point too long": ("04 00000022 " + "00" * 34, PointOf(SECP256K1)),
    "point of the other group": ("05 00000020 58" + "66" * 31, PointOf(SECP256K1)),
}


@pytest.mark.attack("A1")
@pytest.mark.attack("C1")
@pytest.mark.attack("E7")
@pytest.mark.attack("E8")
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    hexadecimal, schema = MALFORMED[name]
    with pytest.raises(SchemaViolation) as refusal:
        decode(bytes.fromhex(hexadecimal), schema)
    assert refusal.value.peer is None


@pytest.mark.attack("C1")
@pytest.mark.parametrize("content", ["", "00" * 33, "02" + "ff" * 32, "04" + G.hex()[2:], "0000"])
def test_point_that_is_none(content):
    raw = bytes.fromhex(content)
    with pytest.raises(BadPoint):
        decode(b"\x04" + len(raw).to_bytes(4, "big") + raw, PointOf(SECP256K1))


@pytest.mark.parametrize(
    ("schema", "taken", "refused"),
    [
        (Bytes(1, 3), [b"a", b"abc"], [b"", b"abcd"]),
        (Bytes(2), [b"ab"], [b"a", b"abc"]),
        (ListOf(Text(1), 1, 3), [["a"], ["a"] * 3], [[], ["a"] * 4]),
        (ListOf(Text(1), 2), [["a", "b"]], [["a"], ["a"] * 3]),
        (Optional(Text(1)), ["a", None], ["ab"]),
    ],
)
def test_sizes_and_choices_are_exact(schema, taken, refused):
    for value in taken:
        assert decode(encode(value), schema) == value
    for value in refused:
        with pytest.raises(SchemaViolation):
            decode(encode(value), schema)


def test_the_identity_is_refused_where_a_proper_point_is_due():
    assert decode(encode(SECP256K1.identity), PointOf(SECP256K1)) == SECP256K1.identity
    assert decode(encode(SECP256K1.G), PointOf(SECP256K1, proper=True)) == SECP256K1.G
    with pytest.raises(BadPoint):
        decode(encode(SECP256K1.identity), PointOf(SECP256K1, proper=True))


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (b"abc", Bytes(3)),
        ("abc", Text(3)),
        (12345, Integer(32)),
        (TOY.G, PointOf(TOY)),
        ([1], ListOf(Integer(8), 1)),
    ],
)
def test_a_length_past_the_end_is_found_before_the_content_is_read(value, schema):
    with pytest.raises(SchemaViolation, match="runs past the end"):
        decode(encode(value)[:-1], schema)


@pytest.mark.parametrize("size", range(4))
def test_a_list_too_short_for_its_count(size):
    with pytest.raises(SchemaViolation, match="without a count"):
        decode(bytes([6, 0, 0, 0, size]) + bytes(size), ListOf(INTEGER, 0, 9))


def test_integer_limits_are_exact():
    for bits in (1, 7, 8, 9, 255, 256, 6976):
        largest = (1 << bits) - 1
        schema = Integer(bits, signed=True)
        assert decode(encode(largest), schema) == largest
        assert decode(encode(-largest), schema) == -largest
        for value in (largest + 1, -largest - 1):
            with pytest.raises(SchemaViolation):
                decode(encode(value), schema)
    assert decode(encode(9), Integer(8, below=10)) == 9


def test_integer_types():
    assert type(decode(encode(5), Integer(512))) is int
    assert type(decode(encode(5), Integer(513))) is type(mpz(5))


class Watched(bytes):
    """Bytes that remember how many were looked at."""

    looked_at = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        self.looked_at += len(found) if isinstance(found, bytes) else 1
        return found


@pytest.mark.attack("B9")
@pytest.mark.attack("E8")
@pytest.mark.parametrize("claimed", [34, 1 << 20])
def test_oversize_integer_is_refused_by_its_header(claimed):
    data = Watched(b"\x03" + claimed.to_bytes(4, "big") + b"\x00" + b"\xff" * (claimed - 1))
    with pytest.raises(SchemaViolation, match="at most 256 bits"):
        Integer(256).read(Reader(data, 0, len(data)), 1)
    assert data.looked_at == 5


@pytest.mark.attack("E8")
def test_oversize_bytes_and_text_are_refused_by_their_header():
    for tag, schema in ((1, Bytes(0, 32)), (2, Text(32)), (4, PointOf(SECP256K1))):
        data = Watched(bytes([tag]) + (1 << 20).to_bytes(4, "big") + bytes(1 << 20))
        with pytest.raises(SchemaViolation):
            schema.read(Reader(data, 0, len(data)), 1)
        assert data.looked_at == 5


def test_list_is_bounded_by_its_own_length_not_by_the_input():
    # The inner list ends before the integer that its count asks for; the bytes are there, but are its neighbour's.
    inner_too_short = bytes.fromhex("06 00000013 00000002 06 00000004 00000001 03 00000001 00")
    with pytest.raises(SchemaViolation, match="truncated"):
        decode(inner_too_short, Tuple(Tuple(INTEGER), INTEGER))


def test_reader_continues_after_a_list():
    value = [[1, 2], b"x", [[3]], None]
    schema = Tuple(ListOf(INTEGER, 2), Bytes(1), Tuple(Tuple(INTEGER)), Optional(Text(3)))
    assert decode(encode(value), schema) == value


def schema_of(value):
    """The narrowest schema that takes `value`."""
    match value:
        case None:
            return Optional(Bytes(0))
        case bytes():
            return Bytes(len(value))
        case str():
            return Text(len(value.encode()))
        case int():
            return Integer(max(value.bit_length(), 1), signed=value < 0)
        case list():
            return Tuple(*map(schema_of, value))
        case _:
            return PointOf(value.group)


def point_of(group):
    return st.integers(0, 5).map(lambda k: k * group.G)


LEAVES = (
    st.none()
    | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=10)
    | st.integers(-(1 << 300), 1 << 300)
    | st.integers(-2, 2)
    | point_of(SECP256K1)
    | point_of(ED25519)
)


def lists_of(children, levels):
    return children if levels == 0 else children | st.lists(lists_of(children, levels - 1), max_size=3)


VALUES = lists_of(LEAVES, 4)


@DETERMINISTIC
@given(VALUES)
def test_round_trip(value):
    decoded = decode(encode(value), schema_of(value))
    assert decoded == value
    assert encode(decoded) == encode(value)


@pytest.mark.attack("A1")
@DETERMINISTIC
@given(VALUES, VALUES)
def test_injective(a, b):
    assert (encode(a) == encode(b)) == (a == b)


@pytest.mark.attack("A1")
@DETERMINISTIC
@given(st.lists(VALUES, min_size=1, max_size=4), st.data())
def test_injective_on_neighbours(values, data):
    """Moving the borders between items, the cut of TSSHOCK's alpha-shuffle, changes the encoding."""
    position = data.draw(st.integers(0, len(values) - 1))
    split = [*values[:position], [values[position]], *values[position + 1 :]]
    merged = [values[: position + 1], *values[position + 1 :]]
    assert len({encode(values), encode(split), encode([*values, None]), encode(merged)} - {encode([])}) >= 3
    assert encode(["a$", "b"]) != encode(["a", "$b"])
    assert encode([b"a", b"b"]) != encode([b"ab", b""]) != encode([b"", b"ab"])


RECORD = Tuple(
    Bytes(0, 8),
    Text(8),
    Integer(80, signed=True),
    Optional(PointOf(TOY)),
    ListOf(Integer(600), 0, 4),
    Tuple(Bytes(2)),
)


def record(rng):
    numbers = [int.from_bytes(rng(rng(1)[0] % 70), "big") for _ in range(rng(1)[0] % 5)]
    point = None if rng(1)[0] & 1 else int.from_bytes(rng(1)) * TOY.G
    return [rng(rng(1)[0] % 9), "ab", int.from_bytes(rng(10)) - (1 << 79), point, numbers, [rng(2)]]


@pytest.mark.attack("E8")
@DETERMINISTIC
@given(st.integers(0, 1 << 32), st.data())
def test_whatever_is_accepted_is_canonical(seed, data):
    """Damaged bytes are refused with a PeerFault, or are the canonical encoding of another value."""
    encoded = bytearray(encode(record(SeededRng(seed))))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(encoded) - 1))
        match data.draw(st.sampled_from(["set", "delete", "insert", "cut"])):
            case "set":
                encoded[position] = data.draw(
                    st.sampled_from([0, 1, 2, 3, 4, 6, 7, 255]) | st.integers(0, 255)
                )
            case "delete":
                del encoded[position]
            case "insert":
                encoded.insert(position, data.draw(st.integers(0, 255)))
            case "cut":
                del encoded[max(position, 1) :]
    try:
        value = decode(bytes(encoded), RECORD)
    except PeerFault:
        return
    assert encode(value) == bytes(encoded)


@pytest.mark.attack("E7")
@pytest.mark.attack("E8")
@DETERMINISTIC
@given(st.binary(max_size=80))
def test_arbitrary_bytes(data):
    for schema in (
        RECORD,
        INTEGER,
        ListOf(ListOf(Bytes(0, 9), 0, 9), 0, 9),
        Optional(Text(9)),
        PointOf(ED25519),
    ):
        try:
            value = decode(data, schema)
        except PeerFault:
            continue
        assert encode(value) == data


def test_no_tag_outside_the_table_is_ever_written():
    tags = {encode(value)[0] for value, _ in WRITTEN}
    assert tags == {1, 2, 3, 4, 5, 6, 7}


def test_large_integers_survive():
    rng = SeededRng("large")
    for bits in (513, 3072, 6976):
        value = gmpy2.mpz(int.from_bytes(rng(bits // 8), "big")) | (mpz(1) << (bits - 1))
        assert decode(encode(value), Integer(bits)) == value
