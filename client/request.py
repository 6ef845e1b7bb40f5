"""What is asked for, and the check that an answer is the answer to it.

A service is believed about nothing that can be computed here: digests are made from the payload anew, every signature is
verified, and a signed transaction must be the one that these signatures make.
"""

from __future__ import annotations

import base64
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from client.errors import RequestFailed
from client.result import InputSignature, SignatureResult, path_or_none
from participant.payloads import (
    ED25519_KEY_BYTES,
    Bip340,
    Digest,
    EthereumTx,
    Message,
    Path,
    Payload,
    PayloadError,
    PsbtTx,
    Signature,
    SolanaTx,
    SshSignature,
    TypedData,
    address,
    address_of,
    decode,
    finish,
    halves,
    solana,
    ssh,
)
from participant.store import check_account_id
from participant.store.errors import StoreConflict
from tss.errors import CallerError, HardenedPath
from tss.frost.bip340 import MERKLE_ROOT_BYTES, NO_SCRIPTS
from tss.hd import format_path, parse_path

REQUEST_ID_BYTES: Final = 16
_HEX: Final = re.compile(r"(0x)?[0-9a-fA-F]*", re.ASCII)
KEY, TAPROOT = "key", "taproot"
"""Which key of two signs by BIP-340."""
_NO_KEY: Final = bytes(33)
"""In the place of a key that the answer does not name; no point encodes to it."""


_HOW: Final = frozenset({"hash", "ssh_namespace", "bip340"})
"""What `payload_of` takes beside a payload: how it is signed."""


@dataclass(frozen=True)
class Request:
    """One signature to ask for. `path` is that of a single key; the inputs of a PSBT name their own."""

    account_id: str
    payload: Payload
    path: Path = ()
    signers: tuple[int, ...] | None = None
    """Who signs, counted from 0; None lets the service choose."""
    request_id: bytes = field(default_factory=lambda: os.urandom(REQUEST_ID_BYTES))

    @property
    def path_text(self) -> str:
        """As wallet.v1 has it: "m" for the root."""
        return format_path(self.path)


@dataclass(frozen=True)
class Signed:
    """One signature of an answer, as the service tells it."""

    path: Path
    digest: bytes
    public_key: bytes
    r: int
    s: int
    v: int
    input_index: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a service answered, unchecked."""

    signed: tuple[Signed, ...]
    signers: tuple[int, ...] = ()
    raw_transaction: bytes | None = None
    psbt: bytes | None = None
    from_stock: bool = False


def new_request(
    account_id: str,
    payload: Payload,
    *,
    path: str = "m",
    signers: Sequence[int] | None = None,
    request_id: bytes | None = None,
) -> Request:
    """A checked request. Raises RequestFailed."""
    try:
        check_account_id(account_id)
    except StoreConflict as error:
        raise RequestFailed(str(error), reason="INVALID_REQUEST") from None
    request = Request(account_id, payload, parse(path), chosen(signers))
    if request_id is None:
        return request
    if len(request_id) != REQUEST_ID_BYTES:
        raise RequestFailed(
            f"the request id has {len(request_id)} bytes, {REQUEST_ID_BYTES} are due",
            reason="INVALID_REQUEST",
        )
    return replace(request, request_id=request_id)


def parse(path: str) -> Path:
    """The indices of a path; "" and "m" are the root. Raises RequestFailed."""
    try:
        return parse_path(path or "m")
    except HardenedPath as error:
        raise RequestFailed(str(error), reason="HARDENED_PATH") from None
    except CallerError as error:
        raise RequestFailed(str(error), reason="INVALID_REQUEST") from None


def chosen(signers: Sequence[int] | None) -> tuple[int, ...] | None:
    """Signers in ascending order. Raises RequestFailed."""
    if signers is None:
        return None
    found = tuple(sorted(signers))
    if len(set(found)) != len(found) or any(index < 0 for index in found) or not found:
        raise RequestFailed(
            f"signers {', '.join(map(str, signers)) or '(none)'}: name different indices, counted from 0",
            reason="INVALID_REQUEST",
        )
    return found


def request_id_of(text: str) -> bytes:
    """16 bytes from a UUID or 32 hexadecimal digits. Raises RequestFailed."""
    try:
        return uuid.UUID(text.removeprefix("0x")).bytes
    except ValueError:
        raise RequestFailed(
            f"request id {text[:60]!r} is neither a UUID nor 32 hexadecimal digits", reason="INVALID_REQUEST"
        ) from None


def digest_of(value: str | bytes) -> Digest:
    """A digest from its 32 bytes, or from 64 hexadecimal digits with or without 0x. Raises RequestFailed."""
    if isinstance(value, str):
        text = value.strip()
        if not _HEX.fullmatch(text) or len(text) % 2:
            raise RequestFailed(f"the digest {text[:80]!r} is not hexadecimal", reason="BAD_DIGEST")
        value = bytes.fromhex(text.removeprefix("0x"))
    try:
        return Digest(value)
    except PayloadError as error:
        raise RequestFailed(error.what, reason="BAD_DIGEST") from None


def payload_of(
    *,
    digest: str | bytes | None = None,
    message: str | bytes | None = None,
    hash: str = "eip191",  # noqa: A002 - the name that it has in wallet.v1
    transaction: str | bytes | Mapping[str, Any] | None = None,
    typed_data: str | bytes | Mapping[str, Any] | None = None,
    psbt: str | bytes | None = None,
    solana: str | bytes | None = None,
    ssh_namespace: str | None = None,
    bip340: str | None = None,
) -> Payload:
    """The one payload that is given; with `ssh_namespace` the message is signed as OpenSSH does, with `bip340` by BIP-340.

    Raises RequestFailed.
    """
    given = [name for name, value in locals().items() if value is not None and name not in _HOW]
    if len(given) != 1:
        raise RequestFailed(
            "give exactly one of digest, message, transaction, typed_data, psbt and solana, not "
            f"{' and '.join(given) or 'none'}",
            reason="INVALID_REQUEST",
        )
    if ssh_namespace is not None and message is None:
        raise RequestFailed("an SSH signature is one of a message: give that", reason="INVALID_REQUEST")
    by = None if bip340 is None else bip340_of(bip340)
    if by is not None and (ssh_namespace is not None or (digest is None and message is None)):
        raise RequestFailed(
            "BIP-340 is chosen for a digest or a message: what else there is says how it is signed",
            reason="INVALID_REQUEST",
        )
    try:
        if solana is not None:
            return SolanaTx(_solana_message(solana))
        if digest is not None:
            return replace(digest_of(digest), bip340=by)
        if message is not None:
            content = message.encode() if isinstance(message, str) else message
            return (
                Message(content, hash, by) if ssh_namespace is None else SshSignature(ssh_namespace, content)
            )
        if transaction is not None:
            return EthereumTx.parse(_plain(transaction))
        if typed_data is not None:
            return TypedData.parse(_plain(typed_data))
        return PsbtTx.parse(psbt or b"")
    except (PayloadError, UnicodeEncodeError) as error:
        raise RequestFailed(str(error), reason="INVALID_REQUEST") from None


def bip340_of(text: str) -> Bip340:
    """From "key", "taproot" or the 64 hexadecimal digits of a merkle root. Raises RequestFailed."""
    if text in {KEY, TAPROOT}:
        return Bip340(None if text == KEY else NO_SCRIPTS)
    digits = text.removeprefix("0x")
    if len(digits) != 2 * MERKLE_ROOT_BYTES or not _HEX.fullmatch(digits):
        raise RequestFailed(
            f"BIP-340 by {text[:80]!r}: say {KEY} for the key itself, {TAPROOT} for its Taproot output, or the 64 hexadecimal "
            "digits of the output's merkle root",
            reason="INVALID_REQUEST",
        )
    return Bip340(bytes.fromhex(digits))


def _solana_message(source: str | bytes) -> bytes:
    """From bytes, or from base64. Raises PayloadError."""
    if isinstance(source, bytes):
        return source
    try:
        return base64.b64decode("".join(source.split()), validate=True)
    except ValueError:
        raise PayloadError("the Solana message is not base64", "give its bytes or base64") from None


def _plain(source: str | bytes | Mapping[str, Any]) -> str | bytes | dict[str, Any]:
    return dict(source) if isinstance(source, Mapping) else source


@dataclass(frozen=True)
class _AnsweredKeys:
    """The account's keys as far as an answer names them."""

    keys: Mapping[Path, bytes]

    def public_key(self, path: Path) -> bytes:
        """`Keys.public_key`."""
        return self.keys.get(path, _NO_KEY)


def checked(request: Request, answer: Answer, known_key: bytes | None = None) -> SignatureResult:
    """The result, when `answer` is one to `request`; `known_key` is the account's root key where it is known.

    Raises RequestFailed BAD_ANSWER otherwise.
    """
    if not answer.signed:
        raise _bad("it holds no signature")
    keys = {signed.path: signed.public_key for signed in answer.signed}
    single = not isinstance(request.payload, PsbtTx)
    if single and (len(answer.signed) != 1 or answer.signed[0].path != request.path):
        raise _bad("it is for another path")
    if known_key is not None and keys.get((), known_key) != known_key:
        raise _bad("it is signed with another key than the account's")
    try:
        decoded = decode(request.payload, _AnsweredKeys(keys), request.path)
        if [d.digest for d in decoded.digests] != [s.digest for s in answer.signed]:
            raise _bad("what was signed is not what was asked for")
        signatures = tuple(Signature(s.r, s.s, s.v) for s in answer.signed)
        finished = finish(request.payload, decoded, signatures)
    except PayloadError as error:
        raise _bad(str(error)) from None
    if finished.raw_transaction != answer.raw_transaction or finished.psbt != answer.psbt:
        raise _bad("its transaction is not what these signatures make")
    if request.signers is not None and answer.signers and set(answer.signers) != set(request.signers):
        raise _bad(f"{answer.signers} signed, but {request.signers} should")
    first, tweaks = answer.signed[0], decoded.digests[0].tweaks
    bip340 = None if tweaks is None else Bip340(tweaks.taproot)
    return SignatureResult(
        account_id=request.account_id,
        path=path_or_none(format_path(first.path)),
        digest=first.digest,
        r=first.r,
        s=first.s,
        v=first.v,
        public_key=first.public_key,
        address=_address(first.public_key, bip340, single=single),
        signers=answer.signers,
        raw_transaction=finished.raw_transaction,
        psbt=finished.psbt,
        inputs=() if single else tuple(_input(signed) for signed in answer.signed),
        request_id=request.request_id,
        from_stock=answer.from_stock,
        ssh_signature=_ssh_file(request.payload, first),
        bip340=bip340 is not None,
    )


def _address(public_key: bytes, bip340: Bip340 | None, *, single: bool) -> str:
    if bip340 is not None:
        return address_of(public_key, bip340)
    if len(public_key) == ED25519_KEY_BYTES:
        return solana.address(public_key)
    return address("ethereum" if single else "bitcoin", public_key)


def _ssh_file(payload: Payload, signed: Signed) -> str | None:
    if not isinstance(payload, SshSignature):
        return None
    return ssh.armored(payload.namespace, signed.public_key, halves(Signature(signed.r, signed.s, signed.v)))


def _input(signed: Signed) -> InputSignature:
    return InputSignature(
        input=signed.input_index or 0,
        path=path_or_none(format_path(signed.path)),
        digest=signed.digest,
        public_key=signed.public_key,
        r=signed.r,
        s=signed.s,
        v=signed.v,
    )


def _bad(what: str) -> RequestFailed:
    return RequestFailed(f"the service's answer is not one to this request: {what}", reason="BAD_ANSWER")
