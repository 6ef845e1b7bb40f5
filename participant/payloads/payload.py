"""What is asked to be signed, as it travels in a proposal, and what every node makes of it for itself.

The canonical form of a payload is `[kind, body, extra]` (`SCHEMA`): a transaction as its unsigned bytes, typed data as
JSON with sorted keys, so that equal requests are equal bytes at every node. `decode` never uses anything but these bytes
and the account's own keys: the initiator's word about digest, recipient or amount is not asked.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from participant.payloads import bitcoin, ethereum, message, psbt, typed_data
from participant.payloads.addresses import ethereum_address_bytes, ethereum_checksum
from participant.payloads.decoded import (
    Decoded,
    DigestToSign,
    Finished,
    Keys,
    Path,
    Signature,
    check_signatures,
)
from participant.payloads.errors import PayloadError
from tss.encoding import Bytes, Optional, Schema, Text, Tuple

MAX_BODY: Final = psbt.MAX_BYTES
"""The largest body of any kind, in bytes; each kind has its own bound below it."""
SCHEMA: Final[Schema] = Tuple(Text(16), Bytes(0, MAX_BODY), Optional(Bytes(1, 20)))


@dataclass(frozen=True)
class Digest:
    """A 32-byte digest that the caller made. Policies may refuse it: nobody can tell what it stands for."""

    kind: ClassVar[str] = "digest"
    digest: bytes

    def __post_init__(self) -> None:
        message.check_digest(self.digest)


@dataclass(frozen=True)
class Message:
    """A message and the name of its hash: eip191, sha256, sha256d or keccak256."""

    kind: ClassVar[str] = "message"
    message: bytes
    hash: str

    def __post_init__(self) -> None:
        message.check_message(self.message, self.hash)


@dataclass(frozen=True)
class EthereumTx:
    """An unsigned transaction in its canonical bytes, and the 20 bytes of `from` where the caller named it."""

    kind: ClassVar[str] = "ethereum_tx"
    unsigned: bytes
    sender: bytes | None = None

    def __post_init__(self) -> None:
        ethereum.from_bytes(self.unsigned)
        if self.sender is not None and len(self.sender) != 20:
            raise PayloadError(f"from has {len(self.sender)} bytes, 20 are due")

    @classmethod
    def parse(cls, source: str | bytes | dict[str, Any]) -> EthereumTx:
        """From a JSON object or its text, or from unsigned RLP as bytes or 0x-hex. Raises PayloadError."""
        if isinstance(source, str) and source.lstrip().startswith("0x"):
            try:
                source = bytes.fromhex(source.strip()[2:])
            except ValueError:
                raise PayloadError("the transaction is not hex") from None
        if isinstance(source, bytes) and source.lstrip()[:1] != b"{":
            return cls(source)
        transaction, sender = ethereum.from_json(source)
        return cls(transaction.unsigned(), sender)


@dataclass(frozen=True)
class TypedData:
    """EIP-712 typed data as canonical JSON."""

    kind: ClassVar[str] = "typed_data"
    json: bytes

    def __post_init__(self) -> None:
        if typed_data.parse(self.json).canonical != self.json:
            raise PayloadError(
                "the typed data is not in its canonical spelling", "pass it through TypedData.parse"
            )

    @classmethod
    def parse(cls, source: str | bytes | dict[str, Any]) -> TypedData:
        """From the object or its text. Raises PayloadError."""
        return cls(typed_data.parse(source).canonical)


@dataclass(frozen=True)
class PsbtTx:
    """A PSBT, version 0 or 2, in its bytes."""

    kind: ClassVar[str] = "psbt"
    psbt: bytes

    def __post_init__(self) -> None:
        psbt.Psbt.parse(self.psbt)

    @classmethod
    def parse(cls, source: str | bytes) -> PsbtTx:
        """From bytes, base64 or hex. Raises PayloadError."""
        if isinstance(source, bytes) and source.startswith(psbt.MAGIC):
            return cls(source)
        try:
            text = source.decode("ascii") if isinstance(source, bytes) else source
            text = "".join(text.split())
            if text.lower().startswith(psbt.MAGIC.hex()):
                return cls(bytes.fromhex(text))
            return cls(base64.b64decode(text, validate=True))
        except ValueError:
            raise PayloadError("this is no PSBT", "give its bytes, base64 or hex") from None


Payload = Digest | Message | EthereumTx | TypedData | PsbtTx


def to_value(payload: Payload) -> list[Any]:
    """The ENC value of `SCHEMA`."""
    match payload:
        case Digest(digest):
            return [payload.kind, digest, None]
        case Message(content, name):
            return [payload.kind, content, name.encode()]
        case EthereumTx(unsigned, sender):
            return [payload.kind, unsigned, sender]
        case TypedData(json):
            return [payload.kind, json, None]
        case PsbtTx(content):
            return [payload.kind, content, None]


def from_value(value: list[Any]) -> Payload:
    """A payload from a value that `SCHEMA` has let through. Raises PayloadError; nothing else comes out of here."""
    kind, body, extra = value
    if extra is not None and kind not in {Message.kind, EthereumTx.kind}:
        raise PayloadError(f"a payload of kind {kind} takes no third item")
    match kind:
        case Digest.kind:
            return Digest(body)
        case Message.kind:
            return Message(body, (extra or b"").decode("ascii", "replace"))
        case EthereumTx.kind:
            return EthereumTx(body, extra)
        case TypedData.kind:
            return TypedData(body)
        case PsbtTx.kind:
            return PsbtTx(body)
        case _:
            raise PayloadError(
                f"unknown kind of payload {kind!r}", "another version of the program may know it"
            )


def decode(payload: Payload, keys: Keys, path: Path = ()) -> Decoded:
    """What is to be signed, and by which keys of the account.

    Args:
        payload: What was asked for.
        keys: The account's public keys.
        path: Where the request asks for the signature, from the account's root. A PSBT may name other paths for its
            inputs; everything else is signed at this one.

    Raises:
        PayloadError: It must not or cannot be signed with this account. Nothing was signed.
    """
    match payload:
        case PsbtTx(content):
            return bitcoin.decode(content, keys, path)
        case Digest(digest):
            return _single(digest, message.DigestSummary(digest), keys, path)
        case Message(content, name):
            return _single(message.HASHES[name](content), message.MessageSummary(content, name), keys, path)
        case TypedData(json):
            document = typed_data.parse(json)
            return _single(document.digest, document.summary, keys, path)
        case EthereumTx(unsigned, sender):
            transaction = ethereum.from_bytes(unsigned)
            own = ethereum_address_bytes(keys.public_key(path))
            if sender is not None and sender != own:
                raise PayloadError(
                    f"from is {ethereum_checksum(sender)}, but the key at this path has {ethereum_checksum(own)}",
                    "name the account and path that the address belongs to",
                )
            return _single(transaction.digest(), transaction.summary(), keys, path)


def _single(digest: bytes, summary: Any, keys: Keys, path: Path) -> Decoded:
    return Decoded((DigestToSign(digest, path, keys.public_key(path)),), summary)


def finish(payload: Payload, decoded: Decoded, signatures: tuple[Signature, ...]) -> Finished:
    """Put the signatures, in the order of `decoded.digests`, into what was signed.

    Every signature is checked against its digest and key first. Raises PayloadError when one does not fit.
    """
    match payload:
        case PsbtTx(content):
            return bitcoin.finish(content, decoded, signatures)
        case EthereumTx(unsigned):
            check_signatures(decoded.digests, signatures)
            (signature,) = signatures
            return Finished(raw_transaction=ethereum.from_bytes(unsigned).signed(signature))
        case _:
            check_signatures(decoded.digests, signatures)
            return Finished()
