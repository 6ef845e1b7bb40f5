"""Targets: everything in `tss` that reads bytes, sessions aside."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import zk_cases
from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM
from cryptography.hazmat.primitives.hpke import Suite as Hpke
from fuzz_mutate import mutated
from fuzz_target import OK, Choices, Target, Violation, judged, need, reads_back, text_of, writes_back
from nacl.bindings import crypto_core_ed25519_is_valid_point
from node_testing import aux_sets, deal
from session_testing import Anything, identity_of
from tss_testing import TINY

from tss import echo, encoding, envelope, evidence, hd
from tss.encoding import Bytes, Integer, ListOf, NoValue, Optional, PointOf, Text, Tuple, decode, encode
from tss.envelope import Body, Kind, Sealed, holder
from tss.errors import BadPoint, CallerError, PeerFault, SchemaViolation, ShareCorrupt
from tss.groups import ED25519, SECP256K1, Group
from tss.params import CGGMP24_SECP256K1
from tss.proposal import Proposal, decode_proposal
from tss.records import AuxSet, KeyShare

ID = b"\x5a" * 32

# -- ENC ---------------------------------------------------------------------------------------------------------

SCHEMAS: list[encoding.Schema] = [
    Bytes(3), Bytes(0, 40), Text(20), Integer(31), Integer(256, signed=True), Integer(6976, signed=True),
    Integer(256, below=SECP256K1.q), PointOf(SECP256K1), PointOf(ED25519), NoValue(), Optional(Text(4)), ListOf(Integer(8), 0, 4),
    Tuple(Text(8), Optional(Bytes(4)), ListOf(Tuple(Integer(16), PointOf(SECP256K1)), 1, 3)),
    ListOf(ListOf(ListOf(ListOf(ListOf(ListOf(NoValue(), 0, 2), 0, 2), 0, 2), 0, 2), 0, 2), 0, 2),
    ListOf(ListOf(ListOf(ListOf(ListOf(ListOf(ListOf(NoValue(), 0), 0, 1), 0, 1), 0, 1), 0, 1), 0, 1), 0, 1),
]  # fmt: skip
VALUES: list[Any] = [
    b"abc", b"x" * 40, "text", 1 << 30, -(1 << 255), (1 << 6976) - 1, SECP256K1.q - 1, 7 * SECP256K1.G, 7 * ED25519.G, None,
    "four", [1, 2, 255], ["n", b"\0\1\2\3", [[1, SECP256K1.G], [2, SECP256K1.identity]]], [[[[[[None]]]], []]], [[[[[[]]]]]],
]  # fmt: skip


def naive(value: Any) -> bytes:
    """ENC, written down once more from protocol.md 0.5."""
    if value is None:
        tag, content = 7, b""
    elif isinstance(value, bytes):
        tag, content = 1, value
    elif isinstance(value, str):
        tag, content = 2, value.encode()
    elif isinstance(value, list):
        tag, content = 6, len(value).to_bytes(4, "big") + b"".join(map(naive, value))
    elif isinstance(value, tuple):
        tag, content = value
    elif value == 0:
        tag, content = 3, b"\0"
    else:
        digits = f"{abs(int(value)):x}"
        tag, content = 3, bytes([value < 0]) + bytes.fromhex("0" * (len(digits) % 2) + digits)
    return bytes([tag]) + len(content).to_bytes(4, "big") + content


def _plain(value: Any) -> Any:
    """Points as (tag, bytes), so that `naive` needs no group."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(value, "is_identity"):
        return (4 if value.group is not ED25519 else 5, value.to_bytes())
    return value


def _enc(data: bytes) -> str:
    if not data:
        return OK
    schema = SCHEMAS[data[0] % len(SCHEMAS)]
    try:
        value = decode(data[1:], schema)
    except (SchemaViolation, BadPoint) as error:
        return type(error).__name__
    need(encode(value) == data[1:], "not canonical")
    need(naive(_plain(value)) == data[1:], "the naive encoder writes something else")
    return OK


def behind_a_byte(data: bytes, rng: Random) -> bytes:
    """The mutator of ENC for inputs whose first byte chooses something."""
    return data[:1] + mutated(data[1:], rng)


# -- points ------------------------------------------------------------------------------------------------------


def _secp256k1(data: bytes) -> str:
    """Against coincurve, which reads the uncompressed and hybrid forms too: those are refused here by their length."""
    try:
        known: bytes | None = PublicKey(data).format()
    except ValueError:
        known = None
    try:
        point = SECP256K1.decode_point(data)
    except BadPoint:
        need(known is None or len(data) != 33, "coincurve takes this point")
        return "BadPoint"
    if point.is_identity:
        need(data == b"\0", "O has one form")
    else:
        need(known == data == point.to_bytes(), "not canonical, or coincurve refuses it")
        need((-point + point).is_identity, "it is not in the group")
    return OK


def _ed25519(data: bytes) -> str:
    """Against libsodium: canonical, on the curve, in the prime-order group, not of small order; O apart."""
    known = len(data) == 32 and crypto_core_ed25519_is_valid_point(data)
    try:
        point = ED25519.decode_point(data)
    except BadPoint:
        need(not known, "libsodium takes this point")
        return "BadPoint"
    need(point.to_bytes() == data, "not canonical")
    need(known or point.is_identity, "libsodium refuses this point")
    return OK


# -- envelopes ---------------------------------------------------------------------------------------------------

SECRET = X25519PrivateKey.from_private_bytes(b"\x11" * 32)
_HPKE = Hpke(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
SIGN = identity_of(holder(2)).sign


def body(payload: bytes, kind: Kind = Kind.MSG, *, to: bool = False, round_: int = 1) -> Body:
    return Body(TINY.proto, ID, round_, kind, holder(2), holder(1) if to else None, payload)


def _unpacked(data: bytes) -> Any:
    parts = envelope.unpack(data)
    header = parts if isinstance(parts, Sealed) else envelope.decode_body(parts[0])
    return parts, header


def _envelope_written(_data: bytes, value: Any) -> None:
    parts, header = value
    need(envelope.routing(_data) == (header.sid, header.kind, header.sender), "routing reads something else")
    if isinstance(parts, Sealed):
        place = [
            parts.proto,
            parts.sid,
            parts.round,
            str(parts.kind),
            parts.sender.as_list(),
            parts.to.as_list(),
        ]
        need(encode([*place, parts.ciphertext]) == _data, "a sealed header of another spelling")
    else:
        need(encode(list(parts)) == _data, "an envelope of another spelling")
        need(header.encode() == parts[0], "a body of another spelling")


def _envelopes() -> Iterator[bytes]:
    for kind in Kind:
        yield envelope.pack(envelope.sign(body(b"payload", kind), SIGN))
    yield envelope.seal(envelope.sign(body(b"p", to=True), SIGN), SECRET.public_key().public_bytes_raw())


HEADER = Sealed(TINY.proto, ID, 1, Kind.MSG, holder(2), holder(1), b"")


def _unseal(data: bytes) -> str:
    """The first byte chooses: the input is a ciphertext, or what somebody sealed who knows the key."""
    if data[:1] < b"\x40":
        ciphertext = data[1:]
    else:
        info = envelope._hpke_info(HEADER, HEADER.to)
        ciphertext = _HPKE.encrypt(data[1:], SECRET.public_key(), info=info)
    sealed = Sealed(TINY.proto, ID, 1, Kind.MSG, holder(2), holder(1), ciphertext)
    return judged(lambda _: envelope.unseal(sealed, SECRET), SchemaViolation)(data)


def _unseal_seeds() -> Iterator[bytes]:
    signed = envelope.sign(body(b"p", to=True), SIGN)
    sealed = envelope.unpack(envelope.seal(signed, SECRET.public_key().public_bytes_raw()))
    assert isinstance(sealed, Sealed)
    yield b"\0" + sealed.ciphertext
    yield b"\xff" + signed.signature + signed.body.payload


# -- echoes, evidence, proposals ---------------------------------------------------------------------------------

PARTIES = (holder(1), holder(2), holder(3))
RECORD = echo.echo_of(TINY.proto, ID, 1, {party: bytes([party.index]) * 9 for party in PARTIES})


def _echo(data: bytes) -> str:
    peeked = echo.peek_echo(data)
    try:
        value = decode(data, echo.ECHO_SCHEMA)
        record = echo.echo_from_value(TINY.proto, ID, 1, value, PARTIES)
    except SchemaViolation:
        return "SchemaViolation"
    need(encode(record.as_value()) == data, "an echo of another spelling")
    need(peeked is None, "an echo is not taken for a broadcast that begins with one")
    return OK


def _peek(data: bytes) -> str:
    found = echo.peek_echo(data)
    if found is None:
        return "None"
    try:
        first, _ = decode(data, Tuple(echo.ECHO_SCHEMA, Anything(TINY.group)))
    except (SchemaViolation, BadPoint):
        return OK
    need(first == found, "peeked at another echo than is there")
    return OK


def _evidence_written(claim: evidence.Claim) -> bytes:
    shown = [list(message) for message in claim.messages]
    accused = claim.accused.as_list()
    return encode(
        [evidence.EVIDENCE_VERSION, claim.proto, list(claim.preimages), accused, claim.check, shown]
    )


def _evidence_seed() -> bytes:
    signed = [envelope.sign(body(p, round_=r), SIGN) for r, p in ((1, b"a"), (1, b"b"))]
    return evidence.Evidence.collect(
        proto=TINY.proto, sid_preimages=[[TINY.proto, "sid", "x"]], accused=holder(2), check="keygen.r1", messages=signed
    ).encode()  # fmt: skip


SUITES = (TINY, CGGMP24_SECP256K1)


def _proposal(data: bytes) -> str:
    """The first byte chooses the suite; the hash in the header is the payload's."""
    suite, payload = SUITES[data[0] % 2 if data else 0], data[1:]
    ph = encoding_hash(suite.proto, payload)
    given = Body(suite.proto, ph, 0, Kind.PROPOSE, holder(2), None, payload)
    try:
        found = decode_proposal(suite, given)
    except (SchemaViolation, BadPoint) as error:
        return type(error).__name__
    need(found.encode() == payload, "a proposal of another spelling")
    need(found.body(suite) == given, "its body is another one")
    return OK


def encoding_hash(proto: str, payload: bytes) -> bytes:
    """Ph of protocol.md 0.7 over bytes that need not be a proposal."""
    return hashlib.sha256(naive([proto, "proposal", ["holder", 2], payload])).digest()


def _proposals() -> Iterator[bytes]:
    for number, suite in enumerate(SUITES):
        G, N = suite.group.G, (1 << suite.level.modulus_bits) - 1
        presign = [ID, G, ID, ID, [1, 2], [G, 2 * G], [[N] * 4] * 2, 1, 1]
        tails = {
            "keygen": [3, 2], "aux": [[ID]], "presign": presign, "full-sign": [*presign, ID, [0, 5]],
            "sign": [ID, ID, [7], 11, [1, 2], ID],
        }  # fmt: skip
        for kind, tail in tails.items():
            proposal = Proposal(holder(2), ID, "acct", kind, b"r" * 16, tail, b"m", 1 << 40)
            yield bytes([number]) + proposal.encode()


# -- records -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def shares() -> tuple[KeyShare, AuxSet]:
    return deal()[0], aux_sets()[0]


# -- proofs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proof:
    """Bytes as the proof of one true statement."""

    name: str

    @property
    def case(self) -> zk_cases.Case:
        return _case(self.name)

    def __call__(self, data: bytes) -> str:
        case = self.case
        try:
            value = decode(data, case.module.schema(case.suite))
            zk_cases.verify(case, value)
        except PeerFault as error:
            return type(error).__name__
        need(encode(case.module.Proof.from_value(value).to_value()) == data, "a proof of another spelling")
        # Of mod's x_i any of four fourth roots will do; of all others what was not proved is a forgery.
        need(self.name == "mod" or data == _honest(self.name), "another proof than the honest one holds")
        return OK

    def seeds(self) -> Iterator[bytes]:
        yield _honest(self.name)


@lru_cache(maxsize=32)
def _case(name: str) -> zk_cases.Case:
    return zk_cases.case(name)


@lru_cache(maxsize=32)
def _honest(name: str) -> bytes:
    return encode(zk_cases.prove(_case(name)))


# -- points of other sizes, paths --------------------------------------------------------------------------------


def _paths() -> Iterator[bytes]:
    yield from (
        b"m",
        b"m/0",
        b"m/44/0/2147483647",
        b"m/0'",
        b"m/2147483648",
        b"m/00",
        b"m/1h",
        b"M/1",
        b"m//1",
    )


def _group_seeds(group: Group) -> Callable[[], Iterator[bytes]]:
    def seeds() -> Iterator[bytes]:
        yield from ((k * group.G).to_bytes() for k in (0, 1, 2, 3, group.q - 1))

    return seeds


def _share_seed() -> list[bytes]:
    return [shares()[0].to_bytes()]


def _aux_seed() -> list[bytes]:
    return [shares()[1].to_bytes()]


TARGETS = [
    Target("enc", _enc, lambda: [bytes([i]) + encode(v) for i, v in enumerate(VALUES)], mutate=behind_a_byte, share=24),
    Target("point-secp256k1", _secp256k1, _group_seeds(SECP256K1), max_len=70, share=20),
    Target("point-ed25519", _ed25519, _group_seeds(ED25519), max_len=40, share=14),
    Target("envelope", judged(_unpacked, SchemaViolation, _envelope_written), _envelopes, mutate=mutated, share=6),
    Target("unseal", _unseal, _unseal_seeds, mutate=behind_a_byte, share=0.2),
    Target("echo", _echo, lambda: [encode(RECORD.as_value())], mutate=mutated, share=0.8),
    Target("echo-peek", _peek, lambda: [encode([RECORD.as_value(), [1, b"x"]])], mutate=mutated, share=0.8),
    Target(
        "evidence", judged(evidence.read_claim, SchemaViolation, writes_back(_evidence_written)),
        lambda: [_evidence_seed()], mutate=mutated, share=0.8,
    ),
    Target("proposal", _proposal, _proposals, mutate=behind_a_byte, share=0.8),
    Target(
        "key-share", judged(lambda d: KeyShare.from_bytes(TINY, d), ShareCorrupt, writes_back(KeyShare.to_bytes)),
        _share_seed, mutate=mutated,
    ),
    Target(
        "aux-set", judged(lambda d: AuxSet.from_bytes(TINY, d), ShareCorrupt, writes_back(AuxSet.to_bytes)),
        _aux_seed, mutate=mutated,
    ),
    Target(
        "hd-path", judged(lambda d: hd.parse_path(text_of(d)), CallerError, writes_back(lambda p: hd.format_path(p).encode())),
        _paths, words=(b"m", b"/", b"'", b"h", b"2147483648"), max_len=1200, share=16,
    ),
    *(
        Target(f"proof-{name.replace('*', '-star')}", Proof(name), Proof(name).seeds, mutate=mutated, max_len=1 << 16, share=0.1)
        for name in zk_cases.NAMES
    ),
]  # fmt: skip

__all__ = ["TARGETS", "Choices", "Violation", "reads_back"]
