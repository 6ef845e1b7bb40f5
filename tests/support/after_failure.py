"""What has to hold of an honest party after a failure (security.md 1): it says nothing more, and keeps what it had.

`Committee.check` of session_testing asks it of every run, `assert_caught` of cggmp24_cheating more strictly of whoever
found the fault without being told.
"""

from __future__ import annotations

import re
from typing import Any

from tss.cggmp24.completion import DONE_ROUND
from tss.cggmp24.identify import AbortMessage
from tss.effects import Durable
from tss.envelope import Kind, Sealed, decode_body, unpack
from tss.errors import PeerFault

_IDENTIFICATION = 5
_NEW_STATE = ("keygen", "aux", "presign", "frost-keygen")
"""Runs whose only durable record comes after all checks. A partial signature is durable before it leaves."""


def assert_stopped(node: Any, where: str, *, ahead: int = 1) -> None:
    """The end is the last thing that the party stored or said, and it is told in one complaint a fault, or one abort, at most.

    Whoever is told of a fault in a round may be in the next one (`ahead` 1), never further: that one waits for the accuser.
    """
    assert len(node.log) == node.ended, f"something is stored or said after the end; {where}"
    error = node.session.error
    if error is None:
        return
    said = [_place(out.envelope) for out in node.posted]
    told = [kind for kind, _ in said if kind in (Kind.COMPLAINT, Kind.ABORT)]
    several = len(error.also) if isinstance(error, PeerFault) else 0
    last = [kind for kind, _ in said[len(said) - len(told) :]]
    assert told == last, f"the end is not the last that is told; {where}"
    assert len(told) <= 1 + several, f"the end is told more than once; {where}"
    found = failed_round(error)
    if found is None:
        return
    rounds = [round_ for kind, round_ in said if kind in (Kind.MSG, Kind.DONE)]
    assert all(round_ <= found + ahead for round_ in rounds), f"went on to round {max(rounds)}; {where}"
    if node.session.setup.kind in _NEW_STATE and found < DONE_ROUND:
        stored = [record.record for record in node.records if isinstance(record, Durable)]
        assert all(isinstance(record, AbortMessage) for record in stored), f"stored new state; {where}"


def failed_round(error: BaseException | None) -> int | None:
    """The round whose check failed. None: no peer's fault, or found whenever a second version comes.

    That is so for echoes, and for signing from stock, whose rounds have none.
    """
    if not isinstance(error, PeerFault) or re.search(r"\.echo$|^(frost-)?sign\.r\d+\.msg$", error.check):
        return None
    if ".abort-" in error.check:
        return _IDENTIFICATION
    round_ = re.match(r"[a-z-]+\.r(\d+)\.", error.check)
    return int(round_[1]) if round_ else None


def _place(envelope: bytes) -> tuple[Kind, int]:
    opened = unpack(envelope)
    body = opened if isinstance(opened, Sealed) else decode_body(opened[0])
    return body.kind, body.round
