"""What decoding a payload gives: the digests to sign, and what a policy may know about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from participant.payloads.errors import PayloadError
from tss import ecdsa
from tss.envelope import verify_signature
from tss.errors import OutOfDomain
from tss.frost.bip340 import Tweaks, signing_key
from tss.frost.ciphersuite import BIP340
from tss.groups import SECP256K1

if TYPE_CHECKING:
    from participant.payloads.bitcoin import BitcoinSummary
    from participant.payloads.ethereum import EthereumSummary
    from participant.payloads.message import DigestSummary, MessageSummary
    from participant.payloads.solana import SolanaSummary
    from participant.payloads.ssh import SshSummary
    from participant.payloads.typed_data import TypedDataSummary

ED25519_KEY_BYTES: Final = 32
"""Of a public key; those of secp256k1 have 33."""

ORDER: Final = SECP256K1.q
"""Order of secp256k1."""

Path = tuple[int, ...]


@runtime_checkable
class Keys(Protocol):
    """The public keys of one account."""

    def public_key(self, path: Path) -> bytes:
        """The compressed public key (33 bytes) at a path of unhardened indices from the account's root."""


@dataclass(frozen=True)
class DigestToSign:
    """One signature to make.

    `digest` is 32 bytes, `public_key` 33 bytes: the key at `path`. `input_index` is the input of a PSBT, else None.
    """

    digest: bytes
    path: Path
    public_key: bytes
    input_index: int | None = None
    message: bytes | None = field(default=None, repr=False)
    """What a key of Ed25519 signs; `digest` is its SHA-256, a name for it, and `public_key` has 32 bytes. By BIP-340 the digest."""
    tweaks: Tweaks | None = None
    """Signed by BIP-340, by the key that these lead to from the account's; None: by ECDSA, or Ed25519."""


@dataclass(frozen=True)
class Signature:
    """An ECDSA signature: 1 <= r < q, 1 <= s <= q/2, v the recovery id (0 to 3).

    Of Ed25519 and BIP-340 r and s are the halves of the 64 bytes, read as they stand (big-endian), and v is 0.
    """

    r: int
    s: int
    v: int


@dataclass(frozen=True)
class Decoded:
    """What a payload asks for: at least one digest, and the summary that policies judge."""

    digests: tuple[DigestToSign, ...]
    summary: (
        DigestSummary
        | MessageSummary
        | EthereumSummary
        | TypedDataSummary
        | BitcoinSummary
        | SolanaSummary
        | SshSummary
    )


@dataclass(frozen=True)
class Finished:
    """What the signatures were put into.

    `raw_transaction`: ready to be broadcast; None where the payload is no transaction or others still have to sign.
    `psbt`: the PSBT with our signatures; None for other payloads.
    """

    raw_transaction: bytes | None = None
    psbt: bytes | None = None


def check_signatures(digests: tuple[DigestToSign, ...], signatures: tuple[Signature, ...]) -> None:
    """Every digest has its signature, low s, and the key that v recovers is the one to sign with (security.md D11, D12).

    Raises PayloadError and names the first that fails.
    """
    if len(signatures) != len(digests):
        raise PayloadError(f"{len(signatures)} signatures for {len(digests)} digests")
    for place, (due, signature) in enumerate(zip(digests, signatures, strict=True)):
        if due.tweaks is not None:
            _check_bip340(place, due, due.tweaks, signature)
            continue
        if due.message is not None:
            _check_ed25519(place, due, signature)
            continue
        if ecdsa.is_high(signature.s, ORDER):
            raise PayloadError(f"signature {place} has a high s", "send its low form (BIP-62)")
        try:
            recovered = ecdsa.recover(due.digest, signature.r, signature.s, signature.v).to_bytes()
        except OutOfDomain as error:
            raise PayloadError(f"signature {place} recovers no public key") from error
        if recovered != due.public_key:
            raise PayloadError(
                f"signature {place} is not one of the key {due.public_key.hex()} over its digest"
            )


def halves(signature: Signature) -> bytes:
    """The 64 bytes of RFC 8032 or BIP-340. Raises OverflowError for numbers of more than 32 bytes."""
    return signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big")


def _check_ed25519(place: int, due: DigestToSign, signature: Signature) -> None:
    if not _has_halves(signature) or not verify_signature(
        due.public_key, due.message or b"", halves(signature)
    ):
        raise PayloadError(f"signature {place} is not one of the key {due.public_key.hex()} over its message")


def _check_bip340(place: int, due: DigestToSign, tweaks: Tweaks, signature: Signature) -> None:
    key = signing_key(SECP256K1.decode_point(due.public_key), tweaks.taproot)
    if not _has_halves(signature) or not BIP340.verify(key, due.digest, halves(signature)):
        raise PayloadError(
            f"signature {place} is not one by BIP-340 of the key {due.public_key.hex()} over its digest"
        )


def _has_halves(signature: Signature) -> bool:
    return signature.v == 0 and max(signature.r, signature.s) < 1 << 256
