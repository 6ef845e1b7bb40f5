"""What decoding a payload gives: the digests to sign, and what a policy may know about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from participant.payloads.errors import PayloadError
from tss import ecdsa
from tss.errors import OutOfDomain
from tss.groups import SECP256K1

if TYPE_CHECKING:
    from participant.payloads.bitcoin import BitcoinSummary
    from participant.payloads.ethereum import EthereumSummary
    from participant.payloads.message import DigestSummary, MessageSummary
    from participant.payloads.typed_data import TypedDataSummary

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


@dataclass(frozen=True)
class Signature:
    """An ECDSA signature: 1 <= r < q, 1 <= s <= q/2, v the recovery id (0 to 3)."""

    r: int
    s: int
    v: int


@dataclass(frozen=True)
class Decoded:
    """What a payload asks for: at least one digest, and the summary that policies judge."""

    digests: tuple[DigestToSign, ...]
    summary: DigestSummary | MessageSummary | EthereumSummary | TypedDataSummary | BitcoinSummary


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
