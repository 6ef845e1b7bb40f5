"""Targets: what a node reads from rooms, from its store and from its callers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from random import Random
from typing import Any

from fuzz_mutate import damaged, mutated
from fuzz_target import OK, Choices, Target, judged, need, reads_back, text_of, writes_back
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode, aio
from node_testing import aux_sets, committee_of, deal, node_keys
from payload_testing import TestAccount, sign
from tss_testing import TINY

from gateway.store import Event
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant import channel
from participant.callers import Caller
from participant.grpc_client import failure_of_call
from participant.node import persistence, results
from participant.node.api import Chain, SignedDigest
from participant.node.ask_notes import AskNote, decode_finished, encode_finished
from participant.node.errors import BadDigestGiven, InternalFailure, InvalidRequest
from participant.node.hello import Hello, StockNote, hello_body
from participant.node.membership import Membership
from participant.payloads import PayloadError
from participant.rooms import Event as RoomEvent
from participant.rooms import HistoryLost, RoomsClient, _Position
from participant.services.requests import Page, sign_call
from participant.services.status import STATUS_DETAILS
from participant.sse import SseDecoder
from participant.store import NewAux, NewShare, NewState
from participant.store.audit import AuditEntry, AuditRecord
from participant.store.errors import StoreDamaged
from participant.store.sessions import Pending, _envelopes
from tss.cggmp24.completion import DONE_ROUND
from tss.encoding import encode
from tss.envelope import Body, Kind, Signed, holder, pack
from tss.envelope import sign as sign_body
from tss.errors import SchemaViolation
from tss.groups import SECP256K1

ID = b"\x5a" * 32

# -- rooms -------------------------------------------------------------------------------------------------------

MAX_EVENT = 300


def _events(chunks: list[bytes]) -> list[Any]:
    decoder = SseDecoder(MAX_EVENT)
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def _sse(data: bytes) -> str:
    """However a stream is cut into chunks, it holds the same events; the client makes items of all of them."""
    rng, stream = Random(data[:2]), data[2:]
    chunks = []
    rest = stream
    while rest:
        size = rng.choice((1, 1, 2, 3, 7, 50))
        chunks.append(rest[:size])
        rest = rest[size:]
    whole = _events([stream])
    need(_events(chunks) == whole, "cut differently, other events")
    client, position, numbers = _client(), _Position(), []
    for raw in whole:
        need(raw.data is None or len(raw.data) <= MAX_EVENT, "an event beyond the bound")
        for item in client._items("room", raw, position):
            if isinstance(item, RoomEvent):
                numbers.append(item.id)
            else:
                need(isinstance(item, HistoryLost), "an item of another kind")
    need(numbers == sorted(set(numbers)), "a message twice, or out of order")
    return OK if whole else "None"


@lru_cache(maxsize=1)
def _client() -> RoomsClient:
    return RoomsClient("http://127.0.0.1:1")


def _streams() -> Iterator[bytes]:
    events = b"".join(
        Event.encode(number, body).frame for number, body in enumerate((b"one", b"two\nlines", "é".encode()))
    )
    yield b"\0\0retry: 5000\n\n" + events
    yield b"\1\1" + events.replace(b"\n", b"\r\n")
    yield b"\2\2" + events.replace(b"\n", b"\r")
    # Mixed ends of lines are one ambiguity more.
    yield from (
        bytes([seed, 9]) + events.replace(b"\n", b"\r\n", 3).replace(b"\n\n", b"\r\n\n") for seed in range(4)
    )
    yield b"\3\3event: history-lost\ndata: 7\n\n: ping\n\nid: 8\nevent: new-message\ndata:x\ndata\n\n"


def _event(data: bytes) -> str:
    """What a gateway writes of a body is what a node reads."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return "None"
    if b"\r" in data:
        return "None"
    found = SseDecoder(1 << 16).feed(Event.encode(3, data).frame)
    need([(e.event, e.id, e.data) for e in found] == [("new-message", "3", data.decode())], "another event")
    return OK


def _body(data: bytes) -> str:
    envelopes = channel.read_body(text_of(data))
    if envelopes is None:
        return "None"
    need(len(envelopes) <= channel.MAX_TOGETHER, "more than a message may hold")
    need(
        channel.read_body(channel.write_body(envelopes, 1, None)) == envelopes,
        "written and read again, other envelopes",
    )
    return OK


# -- notes -------------------------------------------------------------------------------------------------------

_LISTS: dict[str, Any] = {field.name: () for field in fields(Hello)}
HELLO = Hello(
    **_LISTS | {
        "version": "1.0", "boot": b"b" * 16, "number": 3, "time": 1 << 31, "seen": ((2, b"c" * 16),), "aux_id": ID,
        "tags": frozenset([b"t" * 16]), "pending": (ID,), "stock": (StockNote(b"t" * 16, (1, 2), 1, 5),),
    }
)  # fmt: skip
KEY = TestAccount(b"\7" * 32)
X = SECP256K1.decode_point(KEY.public_key(()))
DIGEST = hashlib.sha256(b"digest").digest()
SIGNED = sign(b"\7" * 32, DIGEST)


def finished_by(*signers: int) -> SignedDigest:
    return SignedDigest(
        digest=DIGEST, path="m", public_key=X.to_bytes(), r=SIGNED.r, s=SIGNED.s, v=SIGNED.v, signers=signers, from_stock=True,
        session_id=ID,
    )  # fmt: skip


def _finished(data: bytes) -> str:
    try:
        found = decode_finished(data, X, DIGEST)
    except SchemaViolation:
        return "SchemaViolation"
    need(encode_finished(found) == data, "a note of another spelling")
    wallet.SignResponse(signers=found.signers)
    return OK


def _ask_note() -> bytes:
    return AskNote(-7, b"e" * 16, [0, 1][Chain.ETHEREUM is None], DIGEST, "account", ID, None).encode()


def _results(data: bytes) -> str:
    try:
        found = results.decode_signed(data)
    except InternalFailure:
        return "InternalFailure"
    need(
        results.decode_signed(results.encode_signed(found)) == found, "written and read again, another result"
    )
    return OK


@lru_cache(maxsize=1)
def _membership() -> Membership:
    return Membership(committee_of(), holder(1), node_keys()[0].sign, frozenset([TINY.proto]))


def _opened(data: bytes) -> str:
    """A member's envelope, or one that is counted by the reason for which it is dropped."""
    membership = _membership()
    membership.dropped = Counter()
    signed: Signed | None = membership.open(data)
    if signed is None:
        (reason,) = membership.dropped
        return reason
    need(pack(signed) == data, "an envelope of another spelling")
    need(signed.body.sender in membership.identities, "nobody that we know")
    return OK


def _notes() -> Iterator[bytes]:
    keys = node_keys()[1]
    yield pack(sign_body(hello_body(TINY.proto, ID, holder(2), HELLO), keys.sign))
    yield pack(sign_body(Body(TINY.proto, ID, 0, Kind.ASK, holder(2), None, _ask_note()), keys.sign))
    yield pack(sign_body(Body("another/v9", ID, 0, Kind.PROPOSE, holder(2), None, b""), keys.sign))


DONE = ID[::-1]
PENDING = Pending(ID, "keygen", ID, NewState(), persistence.public_of(TINY.proto, DONE), {}, False, 0)


def _said_done(data: bytes) -> str:
    """Whether a `done` fits, and a certificate made of it, which would need all members' signatures."""
    identities = {holder(i + 1): identity for i, identity in enumerate(committee_of().identities)}
    try:
        fits = persistence.says_done(PENDING, data)
        persistence.check_pending(PENDING, identities, [data] * 3)
    except SchemaViolation:
        return "SchemaViolation"
    need(fits, "a certificate of envelopes that say no done")
    return OK


def _dones() -> Iterator[bytes]:
    body = Body(TINY.proto, ID, DONE_ROUND, Kind.DONE, holder(2), None, encode([None, DONE]))
    yield pack(sign_body(body, node_keys()[1].sign))


# -- the store's records -----------------------------------------------------------------------------------------


def _state() -> bytes:
    return NewState((NewShare.of("a", deal()[0]),), NewAux.of(aux_sets()[0], ("a", "b"))).to_bytes()


RECORD = AuditRecord("sign", "app", "signed", "", "a", b"r" * 16, DIGEST, "m/0", (0, 2), ID)


def _audit_written(data: bytes, entry: AuditEntry) -> None:
    need(entry.record.to_bytes(entry.time_ms) == data, "a record of another spelling")
    entry.as_dict()


def _audits() -> list[bytes]:
    return [RECORD.to_bytes(5), AuditRecord("aux", "x", "allow").to_bytes(0)]


# -- callers -----------------------------------------------------------------------------------------------------


def _sign_request(data: bytes) -> str:
    try:
        request = wallet.SignRequest.FromString(data)
    except DecodeError:
        return "DecodeError"
    try:
        sign_call(request, Caller("app"))
    except (InvalidRequest, BadDigestGiven, PayloadError) as error:
        return type(error).__name__
    return OK


def _requests() -> Iterator[bytes]:
    some = {"request_id": b"r" * 16, "account_id": "a", "path": "m/0", "signers": [0, 1]}
    yield wallet.SignRequest(**some, digest=DIGEST).SerializeToString()
    message = wallet.SignRequest(**some)
    message.message.data, message.message.hash = b"hello", wallet.MESSAGE_HASH_EIP191
    yield message.SerializeToString()
    message.ethereum_tx.json = '{"chainId":1,"nonce":0,"gas":1,"gasPrice":1,"to":"0x' + "11" * 20 + '"}'
    yield message.SerializeToString()
    message.ethereum_tx.raw = b"\xc9\x80\x01\x01\x80\x80\x80\x01\x80\x80"
    yield message.SerializeToString()
    message.typed_data = '{"types":{"A":[]},"primaryType":"A","domain":{},"message":{}}'
    yield message.SerializeToString()
    message.psbt = b"psbt\xff\0"
    yield message.SerializeToString()


def _page(data: bytes) -> str:
    choices = Choices(data)
    size, ordered = choices.below(1 << 31), bool(choices.below(2))
    items = [(bytes([n]) * 2, n) for n in range(7)]
    try:
        page, token = Page.of(size, text_of(choices.rest())).cut(items, ordered=ordered)
    except InvalidRequest:
        return "InvalidRequest"
    need(len(page) <= 7, "more than there is")
    if token:
        Page.of(size, token).cut(items, ordered=ordered)
    return OK


def _status(data: bytes) -> str:
    """The trailers of a failed call: whatever a service puts there, a typed failure comes of it."""
    error = aio.AioRpcError(
        StatusCode.ABORTED, aio.Metadata(), aio.Metadata((STATUS_DETAILS, data)), details=text_of(data[:50])
    )
    failure = failure_of_call(error, "somewhere")
    return OK if failure.from_service else failure.reason


def _statuses() -> Iterator[bytes]:
    status = Status(code=10, message="text")
    status.details.add().Pack(ErrorInfo(reason="PEER_FAULT", domain="wallet-mpc", metadata={"peer": "1"}))
    yield status.SerializeToString()
    status.details.insert(
        0, status.details[0].__class__(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    )
    yield status.SerializeToString()


TARGETS = [
    Target("sse", _sse, _streams, (b"data:", b"id:", b"event:", b"\r", b"\n", b"\r\n", b"\n\n", b"retry:"), share=1.6),
    Target("room-event", _event, lambda: [b"text", b"a\n\nb\n", b"\n"], share=0.8),
    Target(
        "room-body", _body, lambda: [channel.write_body([b"envelope"], 2, None).encode(), channel.write_body([b"", b"two"], 0, 1).encode()],
        (b'"body":', b'"sender":', b'"receiver":', b"null", b"=="), share=16,
    ),
    Target(
        "hello", judged(Hello.decode, SchemaViolation, reads_back(Hello.encode, Hello.decode)), lambda: [HELLO.encode()], mutate=mutated,
        share=0.8,
    ),
    Target("ask", judged(AskNote.decode, SchemaViolation, writes_back(AskNote.encode)), lambda: [_ask_note()], mutate=mutated, share=0.8),
    Target("ask-finished", _finished, lambda: [encode_finished(finished_by(0, 2))], mutate=mutated),
    Target("results", _results, lambda: [results.encode_signed([finished_by(0, 2)])], mutate=mutated),
    Target("member-envelope", _opened, _notes, mutate=mutated, share=0.8),
    Target("done", _said_done, _dones, mutate=mutated),
    Target("pending-state", judged(NewState.from_bytes, StoreDamaged, writes_back(NewState.to_bytes)), lambda: [_state()], mutate=mutated),
    Target(
        "audit-record", judged(lambda d: AuditEntry.decode(1, d, ID, ID), StoreDamaged, _audit_written), _audits, mutate=mutated, share=0.8,
    ),
    Target(
        "certificate-envelopes", judged(lambda d: _envelopes(ID, d), StoreDamaged, writes_back(lambda e: encode(list(e)))),
        lambda: [encode([b"one", b"two"])], mutate=mutated, share=6,
    ),
    Target("sign-request", _sign_request, _requests),
    Target("page-token", _page, lambda: [bytes(5), b"\0\0\0\2\0" + b"0303", b"\0\0\0\1\1" + b"0505"], max_len=100, share=8),
    Target("status-details", _status, _statuses),
]  # fmt: skip

__all__ = ["TARGETS", "damaged"]
