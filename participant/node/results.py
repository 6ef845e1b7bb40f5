"""Finished requests: what is stored of them, and what a caller gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from participant.domain import DOMAIN
from participant.node.api import SignedDigest, SignResult
from participant.node.errors import InternalFailure
from participant.node.views import addresses
from participant.payloads import (
    Bip340,
    Decoded,
    DigestToSign,
    Payload,
    PayloadError,
    Signature,
    finish,
    to_value,
)
from tss.cggmp24.sign import Signature as EcdsaSignature
from tss.encoding import Bytes, Integer, ListOf, Optional, Tuple, decode, encode
from tss.errors import ProtocolError
from tss.frost.terms import Signature as FrostSignature
from tss.hd import format_path, parse_path
from tss.params import MAX_PARTIES
from tss.transcript import hash_commit

_FORMAT: Final = 1
_NUMBER: Final = Integer(256)
_SIGNED: Final = Tuple(
    Bytes(32), ListOf(Integer(31), 0, 255), Bytes(1, 64), _NUMBER, _NUMBER, Integer(8),
    ListOf(Integer(16), 1, MAX_PARTIES), Integer(1), Optional(Integer(32)), Bytes(0, 32),
)  # fmt: skip
_RESULT: Final = Tuple(Integer(8), ListOf(_SIGNED, 1, 1 << 16))


def signed_digest(
    signature: EcdsaSignature | FrostSignature,
    due: DigestToSign,
    points: Sequence[int],
    sid: bytes,
    *,
    from_stock: bool,
) -> SignedDigest:
    """A protocol's result for what was `due`, by the evaluation points that made it in session `sid`."""
    signers = tuple(point - 1 for point in points)
    if isinstance(signature, FrostSignature):
        encoded = signature.encoded
        return SignedDigest(
            digest=due.digest,
            path=format_path(due.path),
            public_key=due.public_key,
            r=int.from_bytes(encoded[:32], "big"),
            s=int.from_bytes(encoded[32:], "big"),
            v=0,
            signers=signers,
            from_stock=from_stock,
            session_id=sid,
        )
    return SignedDigest(
        digest=signature.digest,
        path=format_path(signature.path),
        public_key=signature.X_c.to_bytes(),
        r=signature.r,
        s=signature.s,
        v=signature.v,
        signers=signers,
        from_stock=from_stock,
        session_id=sid,
    )


def content_hash(key_id: bytes, path: Sequence[int], payload: Payload) -> bytes:
    """What decides the signature: account, path, payload. 32 bytes."""
    return hash_commit(DOMAIN, "request", key_id, list(path), to_value(payload))


def encode_signed(signed: Sequence[SignedDigest]) -> bytes:
    """For the store."""
    rows: list[Any] = [
        [
            item.digest, list(parse_path(item.path)), item.public_key, item.r, item.s, item.v, list(item.signers),
            int(item.from_stock), item.input_index, item.session_id,
        ]
        for item in signed
    ]  # fmt: skip
    return encode([_FORMAT, rows])


def decode_signed(data: bytes) -> tuple[SignedDigest, ...]:
    """The inverse. Raises InternalFailure."""
    try:
        _, rows = decode(data, _RESULT)
    except ProtocolError as error:
        raise InternalFailure(f"the stored result of the request is damaged: {error}") from None
    return tuple(
        SignedDigest(
            digest=digest,
            path=format_path([int(step) for step in path]),
            public_key=public_key,
            r=int(r),
            s=int(s),
            v=int(v),
            signers=tuple(int(index) for index in signers),
            from_stock=bool(from_stock),
            input_index=None if input_index is None else int(input_index),
            session_id=session_id,
        )
        for digest, path, public_key, r, s, v, signers, from_stock, input_index, session_id in rows
    )


def sign_result(
    request_id: bytes,
    account_id: str,
    curve: str,
    payload: Payload,
    decoded: Decoded,
    signed: tuple[SignedDigest, ...],
) -> SignResult:
    """Put the signatures into the payload, each checked again there. Raises InternalFailure."""
    try:
        done = finish(payload, decoded, tuple(Signature(item.r, item.s, item.v) for item in signed))
    except PayloadError as error:
        raise InternalFailure(f"a finished signature does not fit its payload: {error}") from None
    signed = tuple(
        replace(item, bip340=None if due.tweaks is None else Bip340(due.tweaks.taproot))
        for item, due in zip(signed, decoded.digests, strict=True)
    )
    first = signed[0]
    kinds: Mapping[str, str] = addresses(curve, first.public_key)
    return SignResult(
        request_id=request_id,
        account_id=account_id,
        path=first.path,
        r=first.r,
        s=first.s,
        v=first.v,
        digest=first.digest,
        public_key=first.public_key,
        addresses=kinds,
        signers=first.signers,
        signed=signed,
        raw_transaction=done.raw_transaction,
        psbt=done.psbt,
    )
