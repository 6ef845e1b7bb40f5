"""How one protocol's checks are repeated from evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tss.effects import Receive
from tss.judge.record import Preimage, Record


@dataclass(frozen=True)
class Step:
    """The checks of one round, and the messages that they need: what a complaint about one of them shows."""

    check: Callable[[Record], None]
    """Repeats the checks in protocol.md's order. Raises the fault of the accused, or NotProven; returns when all pass."""
    section: str
    """Of protocol.md."""
    own: frozenset[int]
    """Rounds of which the accused's own messages are needed, those with its echoes included."""
    context: frozenset[int] = field(default=frozenset())
    """Rounds of which everybody's broadcast is needed."""


@dataclass(frozen=True)
class Reader:
    """One kind of session."""

    rounds: Callable[[Preimage], Sequence[Receive]]
    """What its parties receive, in order. Raises NotProven."""
    steps: Mapping[str, Step]
    """By the second part of a check's id: "r2" of keygen.r2.share."""
