"""What a gateway's answers other than 200 mean: another try, or an error that says what to do."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from participant.answer import Answer, ConnectionFailed
from participant.errors import NodeError
from participant.gateway_tokens import LIFE_SECONDS

RETRY_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that another try may change."""
SECONDS: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)

_CARD: Final = "give the gateway's operator this node's card (mpc-keygen identity DIR) for its key set"
_CLOCK: Final = "compare the clocks of node and gateway"
WHAT_TO_DO: Final = {
    "no_token": "this program sends none",
    "unknown_key": _CARD,
    "bad_signature": _CARD,
    "wrong_algorithm": _CARD,
    "token_expired": _CLOCK,
    "token_not_yet_valid": _CLOCK,
    "token_too_long_lived": f"the gateway's access.max_token_seconds has to be {LIFE_SECONDS} at least",
    "certificate_not_allowed": "the name in gateway.certificate belongs into the gateway's access.certificates",
    "address_not_allowed": "this node's address belongs into the gateway's access.networks",
}
"""By the gateway's stable reason."""


class RoomError(NodeError):
    """The gateway refused for a reason that trying again will not change. `status` is the HTTP status."""

    def __init__(self, room: str, status: int, what: str) -> None:
        super().__init__(f"room {room}: {what} (HTTP status {status})")
        self.room = room
        self.status = status


class RoomForbidden(RoomError):
    """The gateway does not let this node in: its key, clock, certificate or address (401, 403)."""


class RoomBodyTooLarge(RoomError):
    """The message exceeds the gateway's limit (413)."""


class RoomBodyRefused(RoomError):
    """The gateway cannot carry this body or understand this request (400, 422)."""


class RoomUnknown(RoomError):
    """There is no such address: the URL is not a gateway's (404, 405, redirections)."""


class _Refusal(msgspec.Struct):
    error: str
    message: str


async def judge(room: str, answer: Answer) -> None:
    """Raise ConnectionFailed for an answer worth another try, RoomError for any other that is no success."""
    status = answer.status
    if status == 200:
        return
    reason, words = _refusal(await answer.text())
    says = "".join(c if c.isprintable() else " " for c in words[:200]).strip() or "no reason given"
    if status in RETRY_STATUS or status >= 500:
        asked = answer.headers.get("retry-after", "")
        wait = float(asked) if SECONDS.fullmatch(asked) else 0.0
        raise ConnectionFailed(f"the gateway answers {status}: {says}", busy=True, retry_after=wait)
    if status in {401, 403}:
        todo = WHAT_TO_DO.get(reason, "ask its operator")
        raise RoomForbidden(
            room, status, f"the gateway does not let this node in: {says}; {todo}. This node goes on trying"
        )
    if status == 413:
        raise RoomBodyTooLarge(
            room, status, f"the message is too large for the gateway: {says}; raise its body limit"
        )
    if status in {404, 405} or 300 <= status < 400:
        raise RoomUnknown(room, status, f"this is no gateway's address: {says}; correct gateway.url")
    raise RoomBodyRefused(room, status, f"the gateway refuses the request: {says}")


def _refusal(text: str) -> tuple[str, str]:
    """The gateway's reason and words; what is no answer of a gateway's is words alone."""
    try:
        found = msgspec.json.decode(text, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "", text
    return found.error, f"{found.message} [{found.error}]"
