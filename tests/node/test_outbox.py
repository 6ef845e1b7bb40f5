from __future__ import annotations

import pytest

from participant.channel import MAX_TOGETHER
from participant.node.outbox import TOGETHER_BYTES, messages
from tss.envelope import holder
from tss.setting import Outgoing

PH, SID = bytes(32), bytes([1]) * 32


def said(size: int, to: int | None = None, scope: bytes = SID) -> Outgoing:
    return Outgoing(bytes(size), scope, holder(1), None if to is None else holder(to))


@pytest.mark.parametrize(
    ("out", "sizes"),
    [
        ([], []),
        ([said(5)], [[5]]),
        ([said(5), said(6, 2), said(7, 3)], [[5, 6, 7]]),
        ([said(5, 2), said(6, 3)], [[5, 6]]),
        ([said(5), said(6), said(7, 2)], [[5, 6, 7]]),
        ([said(5, scope=PH), said(6, 2)], [[5], [6]]),
        ([said(TOGETHER_BYTES - 1), said(1, 2), said(1, 3)], [[TOGETHER_BYTES - 1, 1], [1]]),
        ([said(TOGETHER_BYTES + 1), said(1, 2)], [[TOGETHER_BYTES + 1], [1]]),
        ([said(1, 2)] * (MAX_TOGETHER + 1), [[1] * MAX_TOGETHER, [1]]),
    ],
)
def test_what_is_said_at_once_in_one_room_goes_together(out, sizes):
    assert [[len(one.envelope) for one in message] for message in messages(out)] == sizes
    assert [one for message in messages(out) for one in message] == out
