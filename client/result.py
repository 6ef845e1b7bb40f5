"""A finished signature, as programs and people get it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from participant.payloads import ED25519_KEY_BYTES


@dataclass(frozen=True)
class InputSignature:
    """What was signed of one input of a PSBT."""

    input: int
    path: str | None
    digest: bytes
    public_key: bytes
    r: int
    s: int
    v: int

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "input": self.input,
            "path": self.path,
            "digest": hexadecimal(self.digest),
            "r": scalar(self.r),
            "s": scalar(self.s),
            "v": self.v,
            "public_key": hexadecimal(self.public_key),
        }


@dataclass(frozen=True)
class SignatureResult:
    """One signature; of a PSBT with several inputs that of the first one, all of them in `inputs`.

    It was checked before it got here: it is one of `public_key` over `digest`, and `digest` is that of what was asked for.
    """

    account_id: str
    path: str | None
    """"m/0/5"; None for the account's root key."""
    digest: bytes
    """The 32 bytes that were signed; of Ed25519 the SHA-256 of the message, which is signed itself."""
    r: int
    s: int
    """At most half the group's order; of Ed25519 and BIP-340 r and s are the halves of the signature, as they stand."""
    v: int
    """Recovery id, 0 to 3; 0 of Ed25519 and BIP-340."""
    public_key: bytes
    """33 bytes, compressed: the key at `path`; 32 of Ed25519."""
    address: str
    """Of that key, on the chain of what was signed (Ethereum's for digests and messages, Solana's of Ed25519). By BIP-340 that of the
    Taproot output which the signature spends, empty when it is of none."""
    signers: tuple[int, ...]
    """Who signed, counted from 0. Empty where the service does not say."""
    raw_transaction: bytes | None = None
    """The signed transaction, ready to be sent."""
    psbt: bytes | None = None
    """The PSBT with the signatures in it."""
    inputs: tuple[InputSignature, ...] = ()
    request_id: bytes = b""
    from_stock: bool = False
    """Whether a presignature was used."""
    ssh_signature: str | None = None
    """What `ssh-keygen -Y verify` reads, of a message that was signed as OpenSSH does."""
    bip340: bool = False
    """Signed by BIP-340: `public_key` with an even y signs, or the Taproot output key that it has."""

    @property
    def signature(self) -> bytes:
        """The 65 bytes r || s || v; the 64 bytes of RFC 8032 or BIP-340."""
        halves = self.r.to_bytes(32, "big") + self.s.to_bytes(32, "big")
        return halves if self._has_no_v else halves + bytes([self.v])

    @property
    def _has_no_v(self) -> bool:
        return self.bip340 or len(self.public_key) == ED25519_KEY_BYTES

    def as_dict(self) -> dict[str, Any]:
        """As `mpc-client sign --json` prints it: bytes in lower-case hexadecimal with 0x, r and s of 64 digits."""
        found: dict[str, Any] = {
            "account_id": self.account_id,
            "path": self.path,
            "digest": hexadecimal(self.digest),
            "r": scalar(self.r),
            "s": scalar(self.s),
            "v": self.v,
            "public_key": hexadecimal(self.public_key),
            "address": self.address,
            "signers": list(self.signers),
        }
        if self._has_no_v and not self.inputs:
            found["signature"] = hexadecimal(self.signature)
        if self.ssh_signature is not None:
            found["ssh_signature"] = self.ssh_signature
        if self.raw_transaction is not None:
            found["raw_transaction"] = hexadecimal(self.raw_transaction)
        if self.psbt is not None:
            found["psbt"] = base64.b64encode(self.psbt).decode()
            found["inputs"] = [signed.as_dict() for signed in self.inputs]
        return found


def hexadecimal(data: bytes) -> str:
    """Lower case with 0x."""
    return "0x" + data.hex()


def scalar(number: int) -> str:
    """64 digits with 0x."""
    return f"0x{number:064x}"


def path_or_none(path: str) -> str | None:
    """The path as it stands in JSON: None for the root."""
    return None if path in {"", "m"} else path
