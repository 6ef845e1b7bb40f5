"""What is asked to be signed, as it travels in a proposal, and what every node makes of it for itself.

The canonical form of a payload is `[kind, body, extra]` (`SCHEMA`): a transaction as its unsigned bytes, typed data as
JSON with sorted keys, so that equal requests are equal bytes at every node. `decode` never uses anything but these bytes
and the account's own keys: the initiator's word about digest, recipient or amount is not asked.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from participant.payloads import bitcoin, ethereum, message, psbt, solana, ssh, typed_data
from participant.payloads.addresses import ethereum_address_bytes, ethereum_checksum
from participant.payloads.decoded import (
    ED25519_KEY_BYTES,
    Decoded,
    DigestToSign,
    Finished,
    Keys,
    Path,
    Signature,
    check_signatures,
    halves,
)
from participant.payloads.errors import PayloadError
from participant.payloads.schnorr import MAX_BYTES as BIP340_BYTES
from participant.payloads.schnorr import TRANSACTION_PREFIX, Bip340, split
from tss.encoding import Bytes, Optional, Schema, Text, Tuple
from tss.frost.bip340 import Tweaks

MAX_BODY: Final = psbt.MAX_BYTES
"""The largest body of any kind, in bytes; each kind has its own bound below it."""
SCHEMA: Final[Schema] = Tuple(Text(16), Bytes(0, MAX_BODY), Optional(Bytes(1, 20 + BIP340_BYTES)))


@dataclass(frozen=True)
class Digest:
    """A 32-byte digest that the caller made. Policies may refuse it: nobody can tell what it stands for."""

    kind: ClassVar[str] = "digest"
    digest: bytes
    bip340: Bip340 | None = None
    """How a key of secp256k1 signs it; None for ECDSA."""

    def __post_init__(self) -> None:
        message.check_digest(self.digest)


@dataclass(frozen=True)
class Message:
    """A message and the name of its hash: eip191, sha256, sha256d or keccak256."""

    kind: ClassVar[str] = "message"
    message: bytes
    hash: str
    bip340: Bip340 | None = None
    """How a key of secp256k1 signs the hash; None for ECDSA."""

    def __post_init__(self) -> None:
        message.check_message(self.message, self.hash)
        if self.bip340 is not None:
            _check_bip340_message(self.message, self.hash, self.bip340)


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


@dataclass(frozen=True)
class SolanaTx:
    """The message of a Solana transaction, legacy or version 0, as its signers sign it."""

    kind: ClassVar[str] = "solana_tx"
    message: bytes

    def __post_init__(self) -> None:
        solana.parse(self.message)


@dataclass(frozen=True)
class SshSignature:
    """A message and the namespace (such as "file" or "git") in which OpenSSH signs it: SSHSIG."""

    kind: ClassVar[str] = "sshsig"
    namespace: str
    message: bytes

    def __post_init__(self) -> None:
        ssh.check(self.namespace, self.message)


def _check_bip340_message(content: bytes, name: str, bip340: Bip340) -> None:
    """Nothing that is a transaction goes as a message. Raises PayloadError."""
    if name == message.NO_HASH:
        raise PayloadError("by BIP-340 a hash of the message is signed", "name the hash")
    if bip340.taproot is not None:
        raise PayloadError(
            "a message is signed by the key at its path, not by an output of it", "leave Taproot out"
        )
    if content.startswith(TRANSACTION_PREFIX):
        raise PayloadError(
            "this message is what a Taproot transaction is signed by", "send the transaction as a PSBT"
        )


Payload = Digest | Message | EthereumTx | TypedData | PsbtTx | SolanaTx | SshSignature


def to_value(payload: Payload) -> list[Any]:
    """The ENC value of `SCHEMA`."""
    match payload:
        case Digest(digest, bip340):
            return [payload.kind, digest, None if bip340 is None else bip340.to_bytes()]
        case Message(content, name, bip340):
            return [payload.kind, content, name.encode() + (b"" if bip340 is None else bip340.to_bytes())]
        case EthereumTx(unsigned, sender):
            return [payload.kind, unsigned, sender]
        case TypedData(json):
            return [payload.kind, json, None]
        case PsbtTx(content) | SolanaTx(content):
            return [payload.kind, content, None]
        case SshSignature(namespace, content):
            return [payload.kind, content, namespace.encode()]


def from_value(value: list[Any]) -> Payload:
    """A payload from a value that `SCHEMA` has let through. Raises PayloadError; nothing else comes out of here."""
    kind, body, extra = value
    if extra is not None and kind not in {Digest.kind, Message.kind, EthereumTx.kind, SshSignature.kind}:
        raise PayloadError(f"a payload of kind {kind} takes no third item")
    match kind:
        case Digest.kind:
            return Digest(body, Bip340.from_bytes(extra or b""))
        case Message.kind:
            name, bip340 = split(extra or b"")
            return Message(body, name.decode("ascii", "replace"), bip340)
        case EthereumTx.kind:
            return EthereumTx(body, extra)
        case TypedData.kind:
            return TypedData(body)
        case PsbtTx.kind:
            return PsbtTx(body)
        case SolanaTx.kind:
            return SolanaTx(body)
        case SshSignature.kind:
            return SshSignature((extra or b"").decode("ascii", "replace"), body)
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
    if isinstance(payload, PsbtTx):
        return bitcoin.decode(payload.psbt, keys, path)
    key = keys.public_key(path)
    if len(key) == ED25519_KEY_BYTES:
        return _by_ed25519(payload, key, path)
    match payload:
        case SolanaTx() | SshSignature() | Message(hash=message.NO_HASH):
            raise PayloadError(
                f"a payload of kind {payload.kind} that is not hashed is for keys of Ed25519",
                "name an account of curve ed25519, or a hash",
            )
        case Digest(digest, bip340):
            return _single(digest, message.DigestSummary(digest), key, path, bip340)
        case Message(content, name, bip340):
            summary = message.MessageSummary(content, name)
            return _single(message.HASHES[name](content), summary, key, path, bip340)
        case TypedData(json):
            document = typed_data.parse(json)
            return _single(document.digest, document.summary, key, path)
        case EthereumTx(unsigned, sender):
            transaction = ethereum.from_bytes(unsigned)
            own = ethereum_address_bytes(key)
            if sender is not None and sender != own:
                raise PayloadError(
                    f"from is {ethereum_checksum(sender)}, but the key at this path has {ethereum_checksum(own)}",
                    "name the account and path that the address belongs to",
                )
            return _single(transaction.digest(), transaction.summary(), key, path)


def _by_ed25519(payload: Payload, key: bytes, path: Path) -> Decoded:
    """Ed25519 signs the message itself (RFC 8032). Raises PayloadError."""
    summary: Any
    if isinstance(payload, Digest | Message) and payload.bip340 is not None:
        raise PayloadError("a key of Ed25519 signs nothing by BIP-340", "name an account of curve secp256k1")
    match payload:
        case Message(content, message.NO_HASH):
            signed, summary = content, message.MessageSummary(content, message.NO_HASH)
        case SolanaTx(content):
            signed, summary = content, solana.parse(content).summary(key)
        case SshSignature(namespace, content):
            signed, summary = ssh.signed_data(namespace, content), ssh.SshSummary(namespace, content)
        case Message():
            raise PayloadError(
                f"a key of Ed25519 signs the message itself, not its {payload.hash}",
                f"say {message.NO_HASH} for the hash",
            )
        case _:
            raise PayloadError(
                f"a key of Ed25519 signs no payload of kind {payload.kind}",
                "name an account of curve secp256k1",
            )
    return Decoded((DigestToSign(message.sha256(signed), path, key, message=signed),), summary)


def _single(digest: bytes, summary: Any, key: bytes, path: Path, bip340: Bip340 | None = None) -> Decoded:
    if bip340 is None:
        return Decoded((DigestToSign(digest, path, key),), summary)
    tweaks = Tweaks(path, bip340.taproot)
    return Decoded((DigestToSign(digest, path, key, message=digest, tweaks=tweaks),), summary)


def finish(payload: Payload, decoded: Decoded, signatures: tuple[Signature, ...]) -> Finished:
    """Put the signatures, in the order of `decoded.digests`, into what was signed.

    Every signature is checked against its digest and key first. Raises PayloadError when one does not fit.
    """
    match payload:
        case PsbtTx(content):
            return bitcoin.finish(content, decoded, signatures)
        case SolanaTx(content):
            check_signatures(decoded.digests, signatures)
            return Finished(raw_transaction=solana.parse(content).signed(halves(signatures[0])))
        case EthereumTx(unsigned):
            check_signatures(decoded.digests, signatures)
            (signature,) = signatures
            return Finished(raw_transaction=ethereum.from_bytes(unsigned).signed(signature))
        case _:
            check_signatures(decoded.digests, signatures)
            return Finished()
