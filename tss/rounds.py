"""What a round's messages are: one description for the party that receives them and for whoever judges them later."""

from __future__ import annotations

from collections.abc import Sequence

from tss.echo import ECHO_SCHEMA
from tss.effects import Echo, Receive
from tss.encoding import Optional, Schema, Tuple, Value, decode
from tss.errors import SchemaViolation


def read_broadcast(payload: bytes, schema: Schema, *, echo_due: bool) -> tuple[list[Value] | None, Value]:
    """(echo of the round before, value) of a protocol's broadcast.

    Raises SchemaViolation, also for an echo where none is due or none where one is, and BadPoint.
    """
    carried: Schema = Optional(ECHO_SCHEMA)
    echo, value = decode(payload, Tuple(carried, schema))
    if (echo is not None) != echo_due:
        raise SchemaViolation("an echo where none is due" if echo else "no echo where one is due")
    return echo, value


def echo_due(rounds: Sequence[Receive], round_: int) -> Receive | None:
    """The round whose echo travels in the broadcasts of `round_`; None when none does. `rounds` in their order."""
    before = [receive for receive in rounds if receive.round < round_ and receive.broadcast is not None]
    return before[-1] if before and before[-1].echo is Echo.NEXT else None
