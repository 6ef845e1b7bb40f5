"""What a fuzz target is, and how one is made of a decoder.

A target takes any bytes and says how they were judged: "ok", or the name of an error of its decoder's own tree. Whatever
else it raises is a finding: an exception outside the tree, or a `Violation` of what must hold for all that is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

OK = "ok"

Run = Callable[[bytes], str]
Mutator = Callable[[bytes, Random], bytes]


class Violation(AssertionError):
    """Something was taken that breaks a promise about all that is taken, such as the canonical encoding."""


@dataclass(frozen=True)
class Target:
    """One decoder (or session) under random bytes."""

    name: str
    run: Run
    seeds: Callable[[], Iterable[bytes]]
    """Good inputs, made anew from the code: where mutation begins."""
    words: tuple[bytes, ...] = ()
    """Pieces that the format is made of."""
    mutate: Mutator | None = None
    """A mutator that knows the format; it is used as often as the one that knows bytes."""
    max_len: int = 4096
    share: float = 0.4
    """Its part of all executions, relative to the others'."""


def need(holds: bool, what: str) -> None:  # noqa: FBT001 - an assertion
    """Raise Violation unless it holds."""
    if not holds:
        raise Violation(what)


def judged(
    decode: Callable[[bytes], Any],
    errors: type[Exception] | tuple[type[Exception], ...],
    *checks: Callable[[bytes, Any], None],
) -> Run:
    """A target's `run`: decode, and check what was taken. `errors` is the tree that the decoder documents."""

    def run(data: bytes) -> str:
        try:
            value = decode(data)
        except errors as error:
            return type(error).__name__
        for check in checks:
            check(data, value)
        return OK

    return run


def writes_back(encode: Callable[[Any], bytes]) -> Callable[[bytes, Any], None]:
    """The decoder takes nothing but what the encoder writes: the format has one spelling."""

    def check(data: bytes, value: Any) -> None:
        need(encode(value) == data, "decoded, but encoded differently")

    return check


def reads_back(
    encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]
) -> Callable[[bytes, Any], None]:
    """What was read is written so that it is read as the same."""

    def check(_data: bytes, value: Any) -> None:
        need(decode(encode(value)) == value, "written and read again, it is another value")

    return check


def text_of(data: bytes) -> str:
    """Any bytes as text: every text of Unicode can be reached, half surrogate pairs too."""
    return data.decode("utf-8", "surrogateescape")


class Choices:
    """Decisions taken from an input's bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece.ljust(size, b"\0")

    def below(self, limit: int) -> int:
        """A number from 0 to limit - 1."""
        return int.from_bytes(self.take(1 if limit <= 256 else 4), "big") % limit

    def rest(self) -> bytes:
        piece, self._at = self._data[self._at :], len(self._data)
        return piece
