"""A megabyte in the place of each integer of what nodes say beside the protocols' rounds (security.md B9)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from oversized import HUGE, integers
from session_testing import Anything, Identity, encode_any
from tss_testing import TINY
from zk_cases import put

from participant.node.ask_notes import AskNote, decode_finished
from participant.node.hello import TAG_BYTES, Hello, StockNote
from tss.control import COMPLAINT_SCHEMA
from tss.echo import ECHO_SCHEMA
from tss.encoding import decode, encode
from tss.envelope import Body, Kind, decode_body, holder, routing, sign
from tss.errors import SchemaViolation
from tss.evidence import Evidence, read_claim
from tss.params import FROST_ED25519, Suite
from tss.proposal import FROST_TAILS, TAILS, decode_proposal

ID, G = b"\x07" * 32, TINY.group.G
PRESIGN = [ID, 5 * G, ID, ID, [1, 2], [2 * G, 3 * G], [[15, 21, 4, 9], [33, 35, 2, 3]], 1, 2]
MOVED = [ID, 5 * G, ID, 2, ID, [1, 2], [2 * G, 3 * G], 3, ID]
TAILS_WITH_VALUES: dict[str, list[Any]] = {
    "keygen": [3, 2],
    "refresh": [[[ID, 5 * G, ID, 2, ID, ID, [2 * G, 3 * G]]]],
    "reshare": MOVED,
    "recover": MOVED,
    "presign": PRESIGN,
    "full-sign": [*PRESIGN, ID, [0, 1]],
    "sign": [ID, ID, [5], 4, [1, 2], ID],
}
P = FROST_ED25519.group.G
FROST_KEY = [ID, 5 * P, ID, [1, 2]]
FROST_MESSAGE = [*FROST_KEY, [2 * P, 3 * P], bytes(64)]
FROST_TAILS_WITH_VALUES: dict[str, list[Any]] = {
    "frost-keygen": [3, 2],
    "refresh": [[[ID, 5 * P, None, 2, ID, None, [2 * P, 3 * P]]]],
    "reshare": [ID, 5 * P, None, 2, ID, [1, 2], [2 * P, 3 * P], 3, ID],
    "recover": [ID, 5 * P, None, 2, ID, [1, 2], [2 * P, 3 * P], 3, ID],
    "frost-pairs": [*FROST_KEY, 1, 2],
    "frost-full-sign": FROST_MESSAGE,
    "frost-sign": [*FROST_MESSAGE, [[1, ID, 2 * P, 3 * P], [2, ID, 4 * P, 5 * P]]],
}
BODY = Body(TINY.proto, ID, 1, Kind.MSG, holder(2), holder(1), b"")
SEALED = [TINY.proto, ID, 1, "msg", holder(2).as_list(), holder(1).as_list(), bytes(100)]
HELLO = Hello(
    "1.0",
    bytes(16),
    1,
    2,
    ((3, bytes(16)),),
    None,
    frozenset(),
    (),
    (),
    (),
    (StockNote(bytes(TAG_BYTES), (1, 2), 1, 5),),
)
NOTE = AskNote(-7, b"x" * 16, 0, b"d" * 32, "alice", b"e" * 32, b"a" * 32)
SHOWN = sign(BODY, Identity.of("shown").sign)


def read_proposal(payload: bytes, suite: Suite = TINY) -> Any:
    ph = hashlib.sha256(encode([suite.proto, "proposal", holder(2).as_list(), payload])).digest()
    return decode_proposal(suite, Body(suite.proto, ph, 0, Kind.PROPOSE, holder(2), None, payload))


def read_tail(kind: str, suite: Suite = TINY) -> Callable[[bytes], Any]:
    return lambda tail: read_proposal(encode([ID, "acct", kind, b"\x0d" * 16, tail, None, 1]), suite)


WORDS: dict[str, tuple[bytes, Callable[[bytes], Any]]] = {
    "body": (BODY.encode(), decode_body),
    "sealed header": (encode(SEALED), routing),
    "echo": (
        encode([ID, [[["holder", 1], ID], [["holder", 2], ID]]]),
        lambda data: decode(data, ECHO_SCHEMA),
    ),
    "complaint": (encode([["holder", 1], "check", b""]), lambda data: decode(data, COMPLAINT_SCHEMA)),
    "evidence": (
        Evidence.collect(
            proto=TINY.proto, sid_preimages=[], accused=holder(2), check="check", messages=[SHOWN]
        ).encode(),
        read_claim,
    ),
    "proposal": (encode([ID, "acct", "keygen", b"\x0d" * 16, encode([3, 2]), None, 1]), read_proposal),
    "hello": (HELLO.encode(), Hello.decode),
    "asked": (NOTE.encode(), AskNote.decode),
    **{f"tail of {kind}": (encode(tail), read_tail(kind)) for kind, tail in TAILS_WITH_VALUES.items()},
    **{
        f"tail of {kind} (FROST)": (encode(tail), read_tail(kind, FROST_ED25519))
        for kind, tail in FROST_TAILS_WITH_VALUES.items()
    },
}


def test_a_tail_of_every_kind_that_holds_integers() -> None:
    assert set(TAILS) - set(TAILS_WITH_VALUES) == {"aux"}
    assert set(FROST_TAILS) == set(FROST_TAILS_WITH_VALUES)


@pytest.mark.attack("B9")
@pytest.mark.parametrize("word", WORDS)
def test_every_integer_is_refused_by_its_size(word: str) -> None:
    encoded, read = WORDS[word]
    read(encoded)
    value = decode(encoded, Anything(FROST_ED25519.group if "FROST" in word else TINY.group))
    places = list(integers(value))
    assert places
    for place in places:
        for huge in (HUGE, -HUGE):
            with pytest.raises(SchemaViolation):
                read(encode_any(put(value, place, huge)))


@pytest.mark.attack("B9")
def test_a_finished_signature_of_a_megabyte() -> None:
    value = [1, 2, 0, [1, 2], 1, ID]
    for place in integers(value):
        with pytest.raises(SchemaViolation, match="bits"):
            decode_finished(encode_any(put(value, place, HUGE)), G, bytes(32))
