"""The mailbox (protocol.md 0.8): what belongs to a session, from whom, how much of it is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from session_testing import Identity, identity_of
from tss_testing import SeededRng

import tss.mailbox
from tss.echo import MAX_SHOWS
from tss.encoding import encode
from tss.envelope import MAX_BROADCAST_BYTES, Body, Kind, PartyId, Signed, holder, pack, seal, sign
from tss.errors import SchemaViolation
from tss.mailbox import MAX_EARLY_PER_PARTY, MAX_KEPT_BYTES_PER_PARTY, Mailbox, SessionKey, check_session_key
from tss.params import MAX_SIGNERS

PROTO = "suite/v1"
PH, SID, OTHER = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
ME, A, B = holder(1), holder(2), holder(3)
IDENTITIES = {party: identity_of(party).public for party in (ME, A, B)}


def box(*, sid: bytes | None = SID, key: bool = True) -> Mailbox:
    mailbox = Mailbox(PROTO, ME, IDENTITIES, PH)
    mailbox.sid = sid
    mailbox.key = SessionKey(SeededRng("mailbox")) if key else None
    return mailbox


EPK = SessionKey(SeededRng("mailbox")).public


def message(
    sender: PartyId = A,
    payload: bytes = b"payload",
    *,
    sid: bytes = SID,
    round_: int = 1,
    kind: Kind = Kind.MSG,
    to: PartyId | None = None,
) -> Body:
    return Body(PROTO, sid, round_, kind, sender, to, payload)


def signed(body: Body) -> Signed:
    return sign(body, identity_of(body.sender).sign)


def sealed(body: Body) -> bytes:
    return seal(signed(body), EPK)


def assert_dropped(mailbox: Mailbox, envelope: bytes, reason: str) -> None:
    before = mailbox.dropped.total()
    assert mailbox.open(envelope) is None
    assert mailbox.dropped[reason] == 1, mailbox.dropped
    assert mailbox.dropped.total() == before + 1
    assert not mailbox.slots
    mailbox.sid = SID
    assert mailbox.take_early() == []


# -- what belongs here -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["msg", "echo", "done", "show", "complaint", "abort"])
@pytest.mark.parametrize(("sid", "round_"), [(SID, 1), (SID, 15), (PH, 0)], ids=["sid", "last round", "ph"])
def test_a_members_broadcast_is_opened(kind, sid, round_):
    mailbox, body = box(), message(sid=sid, round_=round_, kind=Kind(kind))
    assert mailbox.open(pack(signed(body))) == signed(body)
    assert mailbox.dropped.total() == 0


def test_a_members_sealed_message_is_opened():
    mailbox, body = box(), message(to=ME)
    assert mailbox.open(sealed(body)) == signed(body)
    assert mailbox.dropped.total() == 0


def test_bytes_that_are_no_envelope_are_dropped():
    assert_dropped(box(), b"", "malformed")
    assert_dropped(box(), encode([b"no body", bytes(64)]), "malformed")


@pytest.mark.parametrize("kind", ["hello", "ask", "propose"])
def test_kinds_of_no_session_are_dropped(kind):
    assert_dropped(box(), pack(signed(message(kind=Kind(kind)))), "kind")


@pytest.mark.parametrize("kind", ["echo", "done", "show", "complaint", "abort", "hello"])
def test_only_protocol_messages_are_sealed(kind):
    assert_dropped(box(), sealed(message(to=ME, kind=Kind(kind))), "kind")


@pytest.mark.parametrize("to", [None, ME], ids=["broadcast", "sealed"])
def test_another_suite_is_dropped(to):
    body = replace(message(to=to), proto="suite/v2")
    assert_dropped(box(), sealed(body) if to else pack(signed(body)), "stranger")


@pytest.mark.parametrize("to", [None, ME], ids=["broadcast", "sealed"])
@pytest.mark.parametrize("stranger", [holder(4), PartyId("dealer", 2)], ids=str)
def test_a_stranger_is_dropped(stranger, to):
    body = message(stranger, to=to)
    assert_dropped(box(), sealed(body) if to else pack(signed(body)), "stranger")


@pytest.mark.parametrize("to", [None, ME], ids=["broadcast", "sealed"])
def test_what_this_party_sent_is_dropped(to):
    body = message(ME, to=to)
    assert_dropped(box(), sealed(body) if to else pack(signed(body)), "own")


def test_a_sealed_message_to_another_is_dropped():
    assert_dropped(box(), sealed(message(to=B)), "recipient")


def test_a_sealed_message_before_there_is_a_key_is_dropped():
    assert_dropped(box(key=False), sealed(message(to=ME)), "recipient")


@pytest.mark.parametrize("to", [ME, B], ids=str)
def test_a_private_message_that_is_not_sealed_is_dropped(to):
    assert_dropped(box(), pack(signed(message(to=to))), "unsealed")


@pytest.mark.parametrize("to", [None, ME], ids=["broadcast", "sealed"])
def test_another_session_is_dropped(to):
    body = message(sid=OTHER, to=to)
    assert_dropped(box(), sealed(body) if to else pack(signed(body)), "sid")


@pytest.mark.parametrize("to", [None, ME], ids=["broadcast", "sealed"])
@pytest.mark.parametrize("sid", [None, SID], ids=["before", "in session"])
def test_only_round_0_stands_under_the_proposals_hash(sid, to):
    body = message(sid=PH, round_=1, to=to)
    assert_dropped(box(sid=sid), sealed(body) if to else pack(signed(body)), "round")


@pytest.mark.attack("C10")
@pytest.mark.parametrize("to", [None, ME], ids=["broadcast", "sealed"])
@pytest.mark.parametrize("by", [Identity.of("mallory"), identity_of(B)], ids=["stranger", "member"])
def test_a_signature_of_another_is_dropped(by, to):
    forged = sign(message(to=to), by.sign)
    assert_dropped(box(), seal(forged, EPK) if to else pack(forged), "signature")


@pytest.mark.parametrize("to", [None, ME], ids=["broadcast", "sealed"])
def test_a_signature_of_another_message_is_dropped(to):
    body, other = message(to=to), message(payload=b"other", to=to)
    forged = Signed(body, body.encode(), signed(other).signature)
    assert_dropped(box(), seal(forged, EPK) if to else pack(forged), "signature")


def test_a_seal_that_does_not_open_is_dropped():
    stranger = X25519PrivateKey.from_private_bytes(b"\x44" * 32).public_key().public_bytes_raw()
    assert_dropped(box(), seal(signed(message(to=ME)), stranger), "malformed")


def sealed_under(header: Body, inner: Signed) -> bytes:
    """`inner` sealed as its real sender may do it, under the header of another message."""
    assert header.to is not None
    place = [str(header.kind), header.round, header.sender.as_list(), header.to.as_list()]
    info = encode([header.proto, "p2p", header.sid, *place])
    key = SessionKey(SeededRng("mailbox"))._secret.public_key()
    opened = inner.signature + inner.body.payload
    ciphertext = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM).encrypt(opened, key, info=info)
    fields: list[Any] = [header.proto, header.sid, header.round, str(header.kind)]
    return encode([*fields, header.sender.as_list(), header.to.as_list(), ciphertext])


@pytest.mark.attack("C10")
@pytest.mark.parametrize(
    "change",
    [
        {"proto": "suite/v2"}, {"sid": OTHER}, {"sid": PH, "round": 0}, {"round": 2}, {"kind": Kind.DONE}, {"sender": B},
        {"sender": holder(9)}, {"to": B}, {"to": None},
    ],
    ids=repr,
)  # fmt: skip
def test_the_header_outside_of_a_seal_is_what_was_signed(change):
    header = message(to=ME)
    assert box().open(sealed_under(header, signed(header))) == signed(header)
    assert_dropped(box(), sealed_under(header, signed(replace(header, **change))), "signature")


@pytest.mark.parametrize("kind", ["msg", "echo", "done"])
def test_a_broadcast_that_no_show_holds_is_dropped(kind):
    body = message(kind=Kind(kind))
    body = replace(body, payload=bytes(MAX_BROADCAST_BYTES - len(replace(body, payload=b"").encode())))
    assert box().open(pack(signed(body))) == signed(body)
    assert_dropped(box(), pack(signed(replace(body, payload=body.payload + b"x"))), "size")


@pytest.mark.parametrize("kind", ["show", "complaint", "abort"])
def test_what_is_shown_to_nobody_may_fill_its_envelope(kind):
    body = message(payload=bytes(MAX_BROADCAST_BYTES), kind=Kind(kind))
    assert box().open(pack(signed(body))) == signed(body)
    private = message(payload=bytes(MAX_BROADCAST_BYTES), to=ME)
    assert box().open(sealed(private)) == signed(private)


# -- messages that come early ------------------------------------------------------------------------------------


def test_what_comes_before_the_sid_is_known_waits_for_it():
    mailbox = box(sid=None)
    bodies = [message(A), message(B), message(A, kind=Kind.SHOW), message(A, to=ME)]
    for body in bodies:
        assert mailbox.open(sealed(body) if body.to else pack(signed(body))) is None
    assert mailbox.slots == {}
    mailbox.sid = SID
    assert mailbox.take_early() == [signed(body) for body in bodies]
    assert mailbox.take_early() == []
    assert mailbox.dropped.total() == 0


def test_what_came_early_for_another_session_is_dropped_then():
    mailbox = box(sid=None)
    for sid in (OTHER, SID):
        mailbox.open(pack(signed(message(sid=sid))))
    assert mailbox.dropped.total() == 0
    mailbox.sid = SID
    assert mailbox.take_early() == [signed(message())]
    assert mailbox.dropped == {"sid": 1}


def test_the_proposals_hash_is_never_early():
    body = message(sid=PH, round_=0)
    assert box(sid=None).open(pack(signed(body))) == signed(body)


def test_early_messages_are_authenticated():
    assert_dropped(box(sid=None), pack(sign(message(), identity_of(B).sign)), "signature")


def test_early_messages_are_bounded_for_each_member():
    mailbox = box(sid=None)
    for number in range(MAX_EARLY_PER_PARTY + 2):
        mailbox.open(pack(signed(message(payload=bytes([number])))))
    mailbox.open(pack(signed(message(B))))
    assert mailbox.dropped == {"early": 2}
    mailbox.sid = SID
    kept = [*(signed(message(payload=bytes([number]))) for number in range(16)), signed(message(B))]
    assert mailbox.take_early() == kept


def test_a_copy_of_an_early_message_takes_no_room():
    mailbox = box(sid=None)
    for _ in range(MAX_EARLY_PER_PARTY + 1):
        mailbox.open(pack(signed(message())))
    mailbox.open(pack(signed(message(payload=b"other"))))
    assert mailbox.dropped.total() == 0
    mailbox.sid = SID
    assert mailbox.take_early() == [signed(message()), signed(message(payload=b"other"))]


def test_a_copy_of_an_early_message_is_not_one_too_many(monkeypatch):
    size = len(message().encode())
    monkeypatch.setattr(
        tss.mailbox, "MAX_KEPT_BYTES_PER_PARTY", MAX_EARLY_PER_PARTY * size + MAX_EARLY_PER_PARTY
    )
    mailbox = box(sid=None)
    for number in [*range(MAX_EARLY_PER_PARTY), 0, 1]:
        mailbox.open(pack(signed(message(payload=b"payloa" + bytes([number])))))
    assert mailbox.dropped.total() == 0


def test_early_messages_give_their_room_back(monkeypatch):
    size = len(message().encode())
    monkeypatch.setattr(tss.mailbox, "MAX_KEPT_BYTES_PER_PARTY", 2 * size)
    mailbox = box(sid=None)
    for sid in (OTHER, SID, b"\x05" * 32):
        mailbox.open(pack(signed(message(sid=sid))))
    assert mailbox.dropped == {"flood": 1}
    mailbox.sid = SID
    for early in mailbox.take_early():
        mailbox.keep(early)
    mailbox.keep(signed(message(round_=2)))
    mailbox.keep(signed(message(round_=3)))
    assert mailbox.dropped == {"flood": 2, "sid": 1}
    assert [slot.round for slot in mailbox.slots] == [1, 2]


# -- slots -------------------------------------------------------------------------------------------------------


def test_the_first_message_of_a_slot_is_kept():
    mailbox, first, second = box(), signed(message()), signed(message(payload=b"second"))
    assert mailbox.keep(first) is None
    assert mailbox.keep(first) is None
    assert mailbox.keep(second) is first
    assert mailbox.slots == {first.body.slot: first}


def test_another_signature_of_the_same_message_is_a_copy():
    """Hashes and slots are over the body, never over the signature."""
    mailbox, first = box(), signed(message())
    mailbox.keep(first)
    assert mailbox.keep(Signed(first.body, first.encoded, bytes(64))) is None


def test_slots_are_apart():
    mailbox = box()
    bodies = [
        message(), message(B), message(round_=2), message(kind=Kind.ECHO), message(kind=Kind.DONE), message(to=ME),
        message(sid=PH, round_=1),
    ]  # fmt: skip
    for body in bodies:
        assert mailbox.keep(signed(body)) is None
    assert [mailbox.get(b.sid, b.round, b.kind, b.sender, b.to) for b in bodies] == [
        signed(b) for b in bodies
    ]
    assert mailbox.get(SID, 3, Kind.MSG, A) is None


def test_what_is_kept_of_a_member_is_bounded(monkeypatch):
    size = len(message().encode())
    monkeypatch.setattr(tss.mailbox, "MAX_KEPT_BYTES_PER_PARTY", 2 * size)
    mailbox = box()
    for round_ in (1, 2, 3):
        mailbox.keep(signed(message(round_=round_)))
    mailbox.keep(signed(message(B)))
    assert [slot.sender.index for slot in mailbox.slots] == [2, 2, 3]
    assert mailbox.dropped == {"flood": 1}
    other = signed(message(payload=b"other"))
    assert mailbox.keep(other) == signed(message()), "a full member can still be caught"


def test_the_bound_holds_what_an_honest_sender_says():
    assert MAX_KEPT_BYTES_PER_PARTY == 16 * 1024 * 1024


# -- shows -------------------------------------------------------------------------------------------------------


def show(*shown: Body, sender: PartyId = A, sid: bytes = SID, round_: int = 1) -> Signed:
    payload = encode([signed(body).as_value() for body in shown])
    return signed(message(sender, payload, sid=sid, round_=round_, kind=Kind.SHOW))


def test_a_show_holds_the_broadcasts_of_its_round():
    mailbox = box()
    kept = mailbox.keep_show(show(message(A), message(ME)))
    assert kept is not None
    assert kept.signed == show(message(A), message(ME))
    assert kept.messages == (signed(message(A)), signed(message(ME)))
    assert mailbox.shows == {(SID, 1, A): [kept]}


@pytest.mark.parametrize(
    "shown",
    [
        message(round_=2), message(sid=PH, round_=1), message(kind=Kind.ECHO), message(kind=Kind.DONE), message(to=B),
        message(to=ME), message(sid=OTHER), replace(message(), proto="suite/v2"), message(holder(4)),
    ],
    ids=str,
)  # fmt: skip
def test_a_show_of_anything_else_is_a_violation(shown):
    mailbox = box()
    with pytest.raises(SchemaViolation, match="no broadcast of its round"):
        mailbox.keep_show(show(message(B), shown))
    assert mailbox.shows == {}


def test_a_show_of_round_0_is_under_the_proposals_hash():
    kept = box(sid=None).keep_show(show(message(B, sid=PH, round_=0), sid=PH, round_=0))
    assert kept is not None
    assert kept.messages == (signed(message(B, sid=PH, round_=0)),)


def test_a_show_of_what_nobody_signed_is_a_violation():
    """It cannot frame the party whose message it pretends to be."""
    payload = encode([[message(B).encode(), signed(message(A)).signature]])
    with pytest.raises(SchemaViolation, match="no broadcast of its round"):
        box().keep_show(signed(message(payload=payload, kind=Kind.SHOW)))


def test_a_copy_of_a_show_is_kept_once():
    mailbox = box()
    assert mailbox.keep_show(show(message(A))) is not None
    assert mailbox.keep_show(show(message(A))) is None
    assert len(mailbox.shows[SID, 1, A]) == 1
    assert mailbox.dropped.total() == 0


def test_shows_of_a_member_and_round_are_bounded():
    mailbox = box()
    for number in range(MAX_SHOWS + 1):
        kept = mailbox.keep_show(show(message(A, bytes([number]))))
        assert (kept is None) == (number == MAX_SHOWS)
    assert mailbox.dropped == {"show": 1}
    assert mailbox.keep_show(show(message(A), sender=B)) is not None
    assert mailbox.keep_show(show(message(round_=2), round_=2)) is not None
    assert mailbox.keep_show(show(message(sid=PH), sid=PH)) is not None
    assert [len(shows) for shows in mailbox.shows.values()] == [MAX_SHOWS, 1, 1, 1]


def test_shows_count_to_what_is_kept_of_a_member(monkeypatch):
    first, second = show(message(A)), show(message(round_=2), round_=2)
    monkeypatch.setattr(tss.mailbox, "MAX_KEPT_BYTES_PER_PARTY", len(first.encoded) + len(second.encoded) - 1)
    mailbox = box()
    assert mailbox.keep_show(first) is not None
    assert mailbox.keep_show(second) is None
    assert mailbox.dropped == {"flood": 1}
    assert list(mailbox.shows) == [(SID, 1, A)]


@pytest.mark.parametrize(
    "payload",
    [
        b"", encode([]), encode([[b"body", bytes(63)]]), encode([[b"no body", bytes(64)]]),
        encode([signed(message()).as_value()] * (2 * MAX_SIGNERS + 1)),
    ],
    ids=["nothing", "empty", "signature", "body", "too many"],
)  # fmt: skip
def test_a_show_that_is_not_one_is_a_violation(payload):
    mailbox = box()
    with pytest.raises(SchemaViolation):
        mailbox.keep_show(signed(message(payload=payload, kind=Kind.SHOW)))
    assert mailbox.shows == {}


def test_a_show_of_all_parties_in_two_roles_fits():
    payload = encode([signed(message()).as_value()] * 2 * MAX_SIGNERS)
    assert box().keep_show(signed(message(payload=payload, kind=Kind.SHOW))) is not None


# -- messages that a third party holds ---------------------------------------------------------------------------


def test_authentic_messages_are_those_that_members_signed_here():
    good = [message(A), message(ME), message(B, sid=PH, round_=0), message(to=B), message(kind=Kind.ECHO)]
    bad = [
        message(sid=OTHER),
        replace(message(), proto="suite/v2"),
        message(holder(4)),
        message(PartyId("new", 2)),
    ]
    items = [[body.encode(), signed(body).signature] for body in (*good, *bad)]
    items.append([message(A).encode(), signed(message(B)).signature])
    assert box().authentic(items) == [signed(body) for body in good]


def test_authentic_messages_are_bodies():
    with pytest.raises(SchemaViolation):
        box().authentic([[b"no body", bytes(64)]])


# -- the session's key and the end -------------------------------------------------------------------------------


def test_the_session_key_is_made_of_the_sessions_randomness():
    secret = SeededRng("key")(32)
    expected = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    assert SessionKey(SeededRng("key")).public == expected


SMALL_ORDER = [
    "00" * 32,
    "01" + "00" * 31,
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
]
"""Points of order 1, 2, 4 and 8 of Curve25519 and its twist (cr.yp.to/ecdh.html)."""


@pytest.mark.parametrize("point", [bytes.fromhex(point) for point in SMALL_ORDER], ids=bytes.hex)
def test_a_session_key_of_small_order_is_refused(point):
    with pytest.raises(SchemaViolation, match="small order"):
        check_session_key(point)


def test_a_session_key_is_accepted():
    check_session_key(EPK)


def test_closing_forgets_all_but_the_counts():
    mailbox = box(sid=None)
    mailbox.open(pack(signed(message())))
    mailbox.open(b"")
    mailbox.keep(signed(message(sid=PH, round_=0)))
    mailbox.keep_show(show(message(sid=PH, round_=0), sid=PH, round_=0))
    mailbox.close()
    assert mailbox.key is None
    assert mailbox.slots == {}
    assert mailbox.shows == {}
    mailbox.sid = SID
    assert mailbox.take_early() == []
    assert mailbox.dropped == {"malformed": 1}
