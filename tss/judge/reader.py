"""How one protocol's checks are repeated from evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tss.effects import Receive
from tss.judge.record import Preimage, Record


@dataclass(frozen=True)
class Needs:
    """Messages that a check rests on: what a complaint about it shows."""

    own: frozenset[int]
    """Rounds of which the accused's own broadcasts are needed, those that carry its echoes of the context included."""
    told: frozenset[int] = frozenset()
    """Rounds of which its message to its accuser is needed."""
    context: frozenset[int] = frozenset()
    """Rounds of which everybody's broadcast is needed, and the accused's own echo."""


@dataclass(frozen=True)
class Step:
    """The checks of one round."""

    check: Callable[[Record], None]
    """Repeats the checks in protocol.md's order. Raises the fault of the accused, or NotProven; returns when all pass."""
    section: str
    """Of protocol.md."""
    needs: Callable[[str], Needs]
    """By the check's id."""


def always(
    own: Sequence[int], context: Sequence[int] = (), *, told: Sequence[int] = ()
) -> Callable[[str], Needs]:
    """The same for all checks of a round."""
    needs = Needs(frozenset(own), frozenset(told), frozenset(context))
    return lambda _check: needs


@dataclass(frozen=True)
class Reader:
    """One kind of session."""

    rounds: Callable[[Preimage], Sequence[Receive]]
    """What its parties receive, in order. Raises NotProven."""
    steps: Mapping[str, Step]
    """By the second part of a check's id: "r2" of keygen.r2.share."""
