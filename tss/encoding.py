"""ENC, the one canonical encoding (protocol.md 0.5), strict both ways.

A value is a tag byte, a 4-byte big-endian length and its content. `encode` takes plain Python values; `decode` takes
bytes and a schema, and refuses everything that `encode` would not have written for that schema. A refusal is a
`SchemaViolation` without a peer: whoever verified the signature attributes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from struct import Struct
from types import NoneType
from typing import Any, Final, Protocol

import gmpy2
from gmpy2 import mpz

from tss.errors import BadPoint, SchemaViolation
from tss.groups import Group, Point

TAG_BYTES: Final = 1
TAG_TEXT: Final = 2
TAG_INT: Final = 3
TAG_LIST: Final = 6
TAG_NONE: Final = 7
HEADER_BYTES: Final = 5
MAX_DEPTH: Final = 6

MPZ_BITS: Final = 512
"""Integers up to this size decode to `int`, larger schemas to `mpz`."""

Value = Any
"""bytes, str, int or mpz, Point, list or tuple of values, None. bool and float are refused."""


def encode(value: Value) -> bytes:
    """Encode `value`. Raises TypeError for a type that ENC does not have: that is a bug of ours, never a peer's."""
    return _encoded(value, 1)


def _encoded(value: Value, depth: int) -> bytes:
    kind: Any = type(value)
    return _encoder(kind)(value, depth)


def _bytes(value: bytes, _depth: int) -> bytes:
    return _HEADER(TAG_BYTES, len(value)) + value


def _text(value: str, _depth: int) -> bytes:
    content = value.encode()
    return _HEADER(TAG_TEXT, len(content)) + content


def _integer(value: int | mpz, _depth: int) -> bytes:
    size = (value.bit_length() + 7) >> 3
    if value < 0:
        return _INTEGER(TAG_INT, 1 + size, 1) + (-value).to_bytes(size, "big")
    return _INTEGER(TAG_INT, 1 + size, 0) + value.to_bytes(size, "big")


def _list(value: Sequence[Value], depth: int) -> bytes:
    if depth > MAX_DEPTH:
        raise TypeError(f"list deeper than {MAX_DEPTH}")
    content = b"".join([_encoded(item, depth + 1) for item in value])
    return _LIST(TAG_LIST, 4 + len(content), len(value)) + content


def _none(_value: None, _depth: int) -> bytes:
    return _HEADER(TAG_NONE, 0)


def _point(value: Point, _depth: int) -> bytes:
    content = value.to_bytes()
    return _HEADER(value.group.point_tag, len(content)) + content


_HEADER: Final = Struct(">BI").pack
_INTEGER: Final = Struct(">BIB").pack
_LIST: Final = Struct(">BII").pack

_ENCODERS: Final[tuple[tuple[type, Callable[[Any, int], bytes]], ...]] = (
    (bytes, _bytes),
    (bytearray, _bytes),
    (str, _text),
    (int, _integer),
    (mpz, _integer),
    (list, _list),
    (tuple, _list),
    (NoneType, _none),
    (Point, _point),
)


@cache
def _encoder(kind: type) -> Callable[[Any, int], bytes]:
    for known, encoder in _ENCODERS:
        if issubclass(kind, known) and kind is not bool:
            return encoder
    raise TypeError(f"{kind.__name__} has no ENC form")


class Schema(Protocol):
    """What a decoder expects at one place."""

    def read(self, reader: Reader, depth: int) -> Value:
        """Take one value from `reader` or raise SchemaViolation."""


@dataclass
class Reader:
    """A cursor over encoded bytes. `end` bounds the list that is being read."""

    data: bytes
    position: int
    end: int

    def header(self, tag: int, what: str) -> int:
        """Take a header with `tag`; return the content's length, which is known to fit."""
        if self.end - self.position < HEADER_BYTES:
            raise SchemaViolation(f"{what}: truncated")
        found = self.data[self.position]
        if found != tag:
            raise SchemaViolation(f"{what}: tag {found} where {tag} is due")
        size = int.from_bytes(self.data[self.position + 1 : self.position + HEADER_BYTES], "big")
        self.position += HEADER_BYTES
        if size > self.end - self.position:
            raise SchemaViolation(f"{what}: length runs past the end")
        return size

    def take(self, size: int) -> bytes:
        """Take `size` bytes that `header` has vouched for."""
        content = self.data[self.position : self.position + size]
        self.position += size
        return content

    def next_tag(self) -> int | None:
        """The tag of the next value, None at the end."""
        return self.data[self.position] if self.position < self.end else None


@dataclass(frozen=True)
class Bytes:
    """A byte string of `minimum` to `maximum` bytes; one argument means exactly that many."""

    minimum: int
    maximum: int | None = None

    def read(self, reader: Reader, depth: int) -> bytes:  # noqa: ARG002 - the shape of Schema
        """Take one byte string."""
        size = reader.header(TAG_BYTES, "byte string")
        if not self.minimum <= size <= (self.minimum if self.maximum is None else self.maximum):
            raise SchemaViolation(f"byte string of {size} bytes")
        return reader.take(size)


@dataclass(frozen=True)
class Text:
    """UTF-8 text of at most `maximum` bytes."""

    maximum: int

    def read(self, reader: Reader, depth: int) -> str:  # noqa: ARG002 - the shape of Schema
        """Take one text."""
        size = reader.header(TAG_TEXT, "text")
        if size > self.maximum:
            raise SchemaViolation(f"text of {size} bytes")
        try:
            return reader.take(size).decode()
        except UnicodeDecodeError as error:
            raise SchemaViolation("text is not UTF-8") from error


@dataclass(frozen=True)
class Integer:
    """An integer of at most `max_bits` bits, refused by its length before it becomes a number.

    Negative ones are refused unless `signed`. `below`, where given, is an exclusive upper bound.
    """

    max_bits: int
    signed: bool = False
    below: int | None = None

    def read(self, reader: Reader, depth: int) -> int | mpz:  # noqa: ARG002 - the shape of Schema
        """Take one integer."""
        size = reader.header(TAG_INT, "integer")
        if size == 0:
            raise SchemaViolation("integer without a sign byte")
        if size > 1 + (self.max_bits + 7) // 8:
            raise SchemaViolation(f"integer of {size - 1} bytes, at most {self.max_bits} bits are taken")
        content = reader.take(size)
        sign, magnitude = content[0], content[1:]
        if sign > 1:
            raise SchemaViolation("integer with an unknown sign")
        if sign == 1 and not self.signed:
            raise SchemaViolation("negative integer")
        if not magnitude and sign == 1:
            raise SchemaViolation("negative zero")
        if magnitude and magnitude[0] == 0:
            raise SchemaViolation("integer with a leading zero")
        value = int.from_bytes(magnitude, "big")
        if value.bit_length() > self.max_bits:
            raise SchemaViolation(f"integer of {value.bit_length()} bits, at most {self.max_bits} are taken")
        if self.below is not None and value >= self.below:
            raise SchemaViolation("integer out of range")
        signed_value = -value if sign else value
        return signed_value if self.max_bits <= MPZ_BITS else gmpy2.mpz(signed_value)


@dataclass(frozen=True)
class PointOf:
    """A canonical point of `group`; the identity is taken (checks that forbid it are the protocol's own) unless `proper`."""

    group: Group
    proper: bool = False

    def read(self, reader: Reader, depth: int) -> Point:  # noqa: ARG002 - the shape of Schema
        """Take one point."""
        size = reader.header(self.group.point_tag, "point")
        if size > self.group.point_bytes:
            raise SchemaViolation(f"point of {size} bytes")
        point = self.group.decode_point(reader.take(size))
        if self.proper and point.is_identity:
            raise BadPoint("the identity where it may not be")
        return point


@dataclass(frozen=True)
class ListOf:
    """A list of `minimum` to `maximum` like items; one count means exactly that many."""

    item: Schema
    minimum: int
    maximum: int | None = None

    def read(self, reader: Reader, depth: int) -> list[Value]:
        """Take one list."""
        count, outer_end = _open_list(reader, depth)
        if not self.minimum <= count <= (self.minimum if self.maximum is None else self.maximum):
            raise SchemaViolation(f"list of {count} items")
        items = [self.item.read(reader, depth + 1) for _ in range(count)]
        _close_list(reader, outer_end)
        return items


class Tuple:
    """A list with one schema an item: the record of ENC."""

    def __init__(self, *items: Schema) -> None:
        self.items = items

    def read(self, reader: Reader, depth: int) -> list[Value]:
        """Take one record."""
        count, outer_end = _open_list(reader, depth)
        if count != len(self.items):
            raise SchemaViolation(f"record of {count} items where {len(self.items)} are due")
        values = [item.read(reader, depth + 1) for item in self.items]
        _close_list(reader, outer_end)
        return values


@dataclass(frozen=True)
class NoValue:
    """None and nothing else."""

    def read(self, reader: Reader, depth: int) -> None:  # noqa: ARG002 - the schemas' one signature
        """Take a none."""
        if reader.header(TAG_NONE, "none") != 0:
            raise SchemaViolation("none with content")


@dataclass(frozen=True)
class Optional:
    """`item` or none."""

    item: Schema

    def read(self, reader: Reader, depth: int) -> Value:
        """Take one value or none."""
        if reader.next_tag() != TAG_NONE:
            return self.item.read(reader, depth)
        NoValue().read(reader, depth)
        return None


def _open_list(reader: Reader, depth: int) -> tuple[int, int]:
    """Enter a list: its count, and the reader's end to restore afterwards."""
    if depth > MAX_DEPTH:
        raise SchemaViolation(f"list deeper than {MAX_DEPTH}")
    size = reader.header(TAG_LIST, "list")
    if size < 4:
        raise SchemaViolation("list without a count")
    outer_end = reader.end
    reader.end = reader.position + size
    return int.from_bytes(reader.take(4), "big"), outer_end


def _close_list(reader: Reader, outer_end: int) -> None:
    if reader.position != reader.end:
        raise SchemaViolation("list longer than its items")
    reader.end = outer_end


def decode(data: bytes, schema: Schema) -> Value:
    """Decode exactly one value of `schema` from `data`.

    Raises SchemaViolation for anything that is not the canonical encoding of such a value, trailing bytes included,
    and BadPoint for a point that is not on the curve.
    """
    reader = Reader(bytes(data), 0, len(data))
    value = schema.read(reader, 1)
    if reader.position != len(data):
        raise SchemaViolation("trailing bytes")
    return value
