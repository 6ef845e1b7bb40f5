"""Signed and sealed envelopes (protocol.md 0.8): the bytes that are written, and that nothing else is taken."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import nacl.bindings
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given, settings
from hypothesis import strategies as st
from session_testing import LEADING_ZERO, Identity, encode_any

from tss.encoding import encode
from tss.envelope import (
    MAX_ENVELOPE_BYTES,
    Body,
    Kind,
    PartyId,
    Sealed,
    Signed,
    Slot,
    decode_body,
    holder,
    pack,
    routing,
    seal,
    sign,
    unpack,
    unpack_broadcast,
    unseal,
    verify_signature,
)
from tss.errors import SchemaViolation

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=200)
SID = bytes(range(32))
ALICE = Identity.of("alice")
EPK = X25519PrivateKey.from_private_bytes(b"\x11" * 32)
BROADCAST = Body("suite/v1", SID, 3, Kind.MSG, holder(2), None, b"payload")
PRIVATE = replace(BROADCAST, to=holder(1))
Q_ED25519 = 2**252 + 27742317777372353535851937790883648493


def item(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + len(content).to_bytes(4, "big") + content


def listed(*items: bytes) -> bytes:
    return item(6, len(items).to_bytes(4, "big") + b"".join(items))


HOLDER_1 = listed(item(2, b"holder"), item(3, b"\x00\x01"))
HOLDER_2 = listed(item(2, b"holder"), item(3, b"\x00\x02"))
PLACE = [item(2, b"suite/v1"), item(1, SID), item(3, b"\x00\x03"), item(2, b"msg"), HOLDER_2]


def test_the_kinds_are_those_of_the_specification():
    assert {str(kind) for kind in Kind} == {
        "hello", "ask", "propose", "msg", "echo", "show", "complaint", "abort", "done",
    }  # fmt: skip


def test_parties_sort_by_role_then_by_number():
    parties = [PartyId("new", 1), holder(10), holder(2), PartyId("dealer", 3)]
    assert sorted(parties) == [PartyId("dealer", 3), holder(2), holder(10), PartyId("new", 1)]


# -- bodies ------------------------------------------------------------------------------------------------------


def test_what_is_signed_byte_for_byte():
    assert BROADCAST.encode() == listed(*PLACE, item(7, b""), item(1, b"payload"))
    assert PRIVATE.encode() == listed(*PLACE, HOLDER_1, item(1, b"payload"))


@pytest.mark.parametrize("body", [BROADCAST, PRIVATE], ids=["broadcast", "peer to peer"])
def test_a_body_reads_back(body):
    assert decode_body(body.encode()) == body


def test_a_slot_is_everything_but_the_payload():
    assert PRIVATE.slot == Slot(SID, 3, Kind.MSG, holder(2), holder(1))
    assert replace(PRIVATE, payload=b"other").slot == PRIVATE.slot
    for change in (
        {"sid": b"\x01" * 32}, {"round": 4}, {"kind": Kind.DONE}, {"sender": holder(3)},
        {"sender": PartyId("dealer", 2)}, {"to": None},
    ):  # fmt: skip
        assert replace(PRIVATE, **change).slot != PRIVATE.slot


FIELDS = ["suite/v1", SID, 3, "msg", ["holder", 2], ["holder", 1], b"payload"]
WRONG = [
    (0, "x" * 65), (0, b"suite/v1"),
    (1, SID[:31]), (1, SID + b"x"), (1, b""),
    (2, 16), (2, -1), (2, LEADING_ZERO), (2, 1 << 64), (2, None),
    (3, "shout"), (3, "MSG"), (3, "complaints"), (3, ""), (3, "m" * 17), (3, None),
    (4, ["r" * 17, 2]), (4, ["holder", 1 << 32]), (4, ["holder", -2]), (4, ["holder"]), (4, ["holder", 2, 2]), (4, None),
    (5, ["r" * 17, 1]), (5, ["holder", 1 << 32]), (5, ["holder", -1]), (5, ["holder"]), (5, 1),
    (6, "payload"), (6, None), (6, ["payload"]),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value"), WRONG, ids=lambda v: repr(v)[:24])
def test_a_body_with_a_wrong_field_is_refused(place, value):
    fields = [value if at == place else field for at, field in enumerate(FIELDS)]
    with pytest.raises(SchemaViolation) as refused:
        decode_body(encode_any(fields))
    assert refused.value.peer is None


@pytest.mark.parametrize("fields", [FIELDS[:-1], [*FIELDS, None], []], ids=["short", "long", "empty"])
def test_a_body_of_another_length_is_refused(fields):
    with pytest.raises(SchemaViolation):
        decode_body(encode_any(fields))


def test_a_body_with_trailing_bytes_is_refused():
    with pytest.raises(SchemaViolation):
        decode_body(BROADCAST.encode() + b"\x00")


def test_the_largest_fields_are_taken():
    largest = Body("p" * 64, SID, 15, Kind.COMPLAINT, PartyId("r" * 16, (1 << 32) - 1), None, b"")
    assert decode_body(largest.encode()) == largest


# -- signatures --------------------------------------------------------------------------------------------------


def test_a_signature_is_over_the_encoded_body():
    signed = sign(BROADCAST, ALICE.sign)
    assert signed == Signed(BROADCAST, BROADCAST.encode(), ALICE.sign(BROADCAST.encode()))
    assert verify_signature(ALICE.public, signed.encoded, signed.signature)
    assert signed.as_value() == [signed.encoded, signed.signature]


def test_a_signature_is_of_one_key_and_one_message():
    message, signature = b"message", ALICE.sign(b"message")
    assert verify_signature(ALICE.public, message, signature[1:]) is False
    assert verify_signature(ALICE.public, b"massage", signature) is False
    assert not verify_signature(Identity.of("bob").public, message, signature)
    assert not verify_signature(ALICE.public, b"massage", signature)
    for bit in range(0, 512, 37):
        damaged = (int.from_bytes(signature, "big") ^ (1 << bit)).to_bytes(64, "big")
        assert not verify_signature(ALICE.public, message, damaged), bit


def test_bytes_cannot_move_between_signature_and_message():
    message, signature = b"message", ALICE.sign(b"message")
    assert not verify_signature(ALICE.public, message[1:], signature + message[:1])
    assert not verify_signature(ALICE.public, signature[-1:] + message, signature[:-1])


@pytest.mark.parametrize("identity", [ALICE.public + b"\x00", ALICE.public[:31], b""], ids=len)
def test_an_identity_has_32_bytes(identity):
    assert not verify_signature(identity, b"message", ALICE.sign(b"message"))


def test_a_second_form_of_a_signature_is_refused():
    signature = ALICE.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + Q_ED25519
    assert not verify_signature(ALICE.public, b"message", signature[:32] + s.to_bytes(32, "little"))


def test_an_identity_of_small_order_signs_nothing():
    neutral = b"\x01" + bytes(31)
    assert nacl.bindings.crypto_core_ed25519_is_valid_point(neutral) is False
    assert not verify_signature(neutral, b"message", neutral + bytes(32))


# -- broadcasts --------------------------------------------------------------------------------------------------


def test_the_envelope_of_a_broadcast():
    signed = sign(BROADCAST, ALICE.sign)
    assert pack(signed) == listed(item(1, signed.encoded), item(1, signed.signature))
    assert unpack(pack(signed)) == (signed.encoded, signed.signature)
    assert unpack_broadcast(pack(signed)) == (signed.body, signed.encoded, signed.signature)


@pytest.mark.parametrize(
    "value",
    [[b"", bytes(64)], [b"body", bytes(63)], [b"body", bytes(65)], ["body", bytes(64)], [b"body"], [b"body", bytes(64), b""]],
    ids=["no body", "short signature", "long signature", "text", "no signature", "more"],
)  # fmt: skip
def test_what_is_not_a_broadcast_is_refused(value):
    with pytest.raises(SchemaViolation):
        unpack(encode(value))


def test_an_envelope_has_a_largest_size():
    overhead = len(pack(Signed(BROADCAST, b"", bytes(64))))
    largest = pack(Signed(BROADCAST, bytes(MAX_ENVELOPE_BYTES - overhead), bytes(64)))
    assert len(largest) == MAX_ENVELOPE_BYTES == 8 * 1024 * 1024
    unpack(largest)
    with pytest.raises(SchemaViolation, match=f"envelope of {MAX_ENVELOPE_BYTES + 1} bytes"):
        unpack(pack(Signed(BROADCAST, bytes(MAX_ENVELOPE_BYTES - overhead + 1), bytes(64))))


# -- sealed messages ---------------------------------------------------------------------------------------------


def sealed_message() -> tuple[Signed, Sealed]:
    signed = sign(PRIVATE, ALICE.sign)
    parts = unpack(seal(signed, EPK.public_key().public_bytes_raw()))
    assert isinstance(parts, Sealed)
    return signed, parts


def test_a_sealed_envelope_is_no_broadcast():
    envelope = seal(sign(PRIVATE, ALICE.sign), EPK.public_key().public_bytes_raw())
    with pytest.raises(SchemaViolation, match="sealed envelope is no broadcast"):
        unpack_broadcast(envelope)


def test_a_sealed_envelope_byte_for_byte():
    signed, sealed = sealed_message()
    assert sealed == Sealed("suite/v1", SID, 3, Kind.MSG, holder(2), holder(1), sealed.ciphertext)
    envelope = seal(signed, EPK.public_key().public_bytes_raw())
    ciphertext = unpack(envelope).ciphertext
    assert envelope == listed(*PLACE, HOLDER_1, item(1, ciphertext))
    assert len(ciphertext) == 32 + 64 + len(PRIVATE.payload) + 16


def test_the_seal_is_rfc_9180_under_the_info_of_the_specification():
    """info = ENC([PROTO, "p2p", sid, kind, round, from, to])."""
    signed, sealed = sealed_message()
    info = listed(
        item(2, b"suite/v1"), item(2, b"p2p"), item(1, SID), item(2, b"msg"), item(3, b"\x00\x03"), HOLDER_2, HOLDER_1
    )  # fmt: skip
    hpke = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    assert hpke.decrypt(sealed.ciphertext, EPK, info=info) == signed.signature + PRIVATE.payload


def test_a_sealed_message_opens():
    signed, sealed = sealed_message()
    assert unseal(sealed, EPK) == (signed.body, signed.signature)


@pytest.mark.attack("C10")
def test_it_shows_nothing_of_its_payload():
    signed, sealed = sealed_message()
    assert b"payload" in signed.encoded
    assert b"payload" not in sealed.ciphertext


@pytest.mark.parametrize(
    "change",
    [
        {"proto": "suite/v2"}, {"sid": b"\x01" * 32}, {"round": 4}, {"kind": Kind.DONE}, {"sender": holder(3)},
        {"sender": PartyId("dealer", 2)}, {"to": holder(3)}, {"to": PartyId("new", 1)},
    ],
    ids=repr,
)  # fmt: skip
def test_it_does_not_open_under_another_header(change):
    _, sealed = sealed_message()
    with pytest.raises(SchemaViolation, match="does not open"):
        unseal(replace(sealed, **change), EPK)


def test_it_does_not_open_with_another_key():
    _, sealed = sealed_message()
    with pytest.raises(SchemaViolation, match="does not open"):
        unseal(sealed, X25519PrivateKey.from_private_bytes(b"\x12" * 32))


def test_it_does_not_open_when_damaged_or_cut():
    _, sealed = sealed_message()
    whole = sealed.ciphertext
    damaged = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 7)]
    cut = [whole[:size] for size in (0, 1, 31, 32, 33, 47, 48, len(whole) - 1)]
    small_order = [point + whole[32:] for point in (bytes(32), b"\x01" + bytes(31))]
    for ciphertext in damaged + cut + small_order:
        with pytest.raises(SchemaViolation, match="does not open"):
            unseal(replace(sealed, ciphertext=ciphertext), EPK)


def sealed_by_hand(inner: bytes) -> Sealed:
    _, sealed = sealed_message()
    info = encode(["suite/v1", "p2p", SID, "msg", 3, ["holder", 2], ["holder", 1]])
    hpke = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    return replace(sealed, ciphertext=hpke.encrypt(inner, EPK.public_key(), info=info))


@pytest.mark.parametrize("inner", [b"", bytes(63)], ids=repr)
def test_what_a_seal_holds_begins_with_a_signature(inner):
    with pytest.raises(SchemaViolation, match="without a signature"):
        unseal(sealed_by_hand(inner), EPK)


def test_the_least_that_a_seal_holds_is_a_signature():
    assert unseal(sealed_by_hand(bytes(64)), EPK) == (replace(PRIVATE, payload=b""), bytes(64))


def test_a_broadcast_is_not_sealed():
    with pytest.raises(ValueError, match="a broadcast is not sealed"):
        seal(sign(BROADCAST, ALICE.sign), EPK.public_key().public_bytes_raw())


HEADER = ["suite/v1", SID, 3, "msg", ["holder", 2], ["holder", 1], b"ciphertext"]


@pytest.mark.parametrize(("place", "value"), [*WRONG, (5, None), (6, b"")], ids=lambda v: repr(v)[:24])
def test_a_sealed_header_with_a_wrong_field_is_refused(place, value):
    fields = [value if at == place else field for at, field in enumerate(HEADER)]
    assert isinstance(unpack(encode_any(HEADER)), Sealed)
    with pytest.raises(SchemaViolation):
        unpack(encode_any(fields))


def test_the_largest_sealed_header_is_taken():
    header = ["p" * 64, SID, 15, "complaint", ["r" * 16, (1 << 32) - 1], ["r" * 16, (1 << 32) - 1], b"c"]
    party = PartyId("r" * 16, (1 << 32) - 1)
    assert unpack(encode(header)) == Sealed("p" * 64, SID, 15, Kind.COMPLAINT, party, party, b"c")


# -- routing -----------------------------------------------------------------------------------------------------


def test_routing_reads_the_header_of_both_forms():
    signed = sign(replace(PRIVATE, kind=Kind.DONE), ALICE.sign)
    sealed = seal(signed, EPK.public_key().public_bytes_raw())
    assert routing(sealed) == (SID, Kind.DONE, holder(2))
    assert routing(pack(sign(BROADCAST, ALICE.sign))) == (SID, Kind.MSG, holder(2))


@pytest.mark.parametrize("envelope", [b"", bytes(9), encode([b"body", bytes(64)])], ids=repr)
def test_routing_refuses_what_is_no_envelope(envelope):
    with pytest.raises(SchemaViolation):
        routing(envelope)


@DETERMINISTIC
@given(st.binary(max_size=300))
@pytest.mark.attack("E7")
def test_any_bytes_are_an_envelope_or_a_schema_violation(data):
    with contextlib.suppress(SchemaViolation):
        routing(data)


@DETERMINISTIC
@given(st.sampled_from([False, True]), st.integers(0, 1 << 30), st.binary(max_size=6), st.integers(0, 4))
def test_a_damaged_envelope_is_refused_or_read_back_as_it_stands(private, at, inserted, removed):
    signed = sign(PRIVATE if private else BROADCAST, ALICE.sign)
    whole = seal(signed, EPK.public_key().public_bytes_raw()) if private else pack(signed)
    at %= len(whole) + 1
    damaged = whole[:at] + inserted + whole[at + removed :]
    try:
        parts = unpack(damaged)
    except SchemaViolation:
        return
    if isinstance(parts, Sealed):
        party = [parts.sender.as_list(), parts.to.as_list()]
        assert damaged == encode(
            [parts.proto, parts.sid, parts.round, str(parts.kind), *party, parts.ciphertext]
        )
    else:
        assert damaged == encode(list(parts))
        assert damaged == whole or not verify_signature(ALICE.public, *parts)
