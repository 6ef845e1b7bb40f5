"""Messages of Solana transactions, legacy and version 0: who must sign, who pays, which programs run.

The message is what Ed25519 keys sign. What its instructions mean is their programs' business; a policy sees their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from participant.payloads.errors import PayloadError

MAX_BYTES: Final = 1232
"""Of a transaction, and so of its message (a packet of IPv6's smallest MTU)."""

KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VERSION_0: Final = 0x80


def address(public_key: bytes) -> str:
    """An account's address: base58 of its 32 bytes."""
    number, digits = int.from_bytes(public_key, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(public_key) - len(public_key.lstrip(b"\0"))) + digits


@dataclass(frozen=True)
class SolanaSummary:
    """What a policy may know of a transaction; keys are addresses."""

    fee_payer: str
    signers: tuple[str, ...]
    """Everybody whose signature it needs, the fee payer first."""
    programs: tuple[str, ...]
    """Of each instruction, in order."""
    accounts: tuple[str, ...]
    """All keys that stand in the message itself; those of lookup tables are not known here."""
    blockhash: str


@dataclass(frozen=True)
class SolanaMessage:
    """A message, read whole."""

    encoded: bytes
    signers: int
    keys: tuple[bytes, ...]
    blockhash: bytes
    programs: tuple[int, ...]
    """Indices into the keys."""

    def summary(self, key: bytes) -> SolanaSummary:
        """For the account whose key is `key`. Raises PayloadError when it is not one of the signers."""
        if key not in self.keys[: self.signers]:
            raise PayloadError(
                f"{address(key)} is not among those who sign this transaction",
                "name the account that the message needs the signature of",
            )
        names = tuple(map(address, self.keys))
        return SolanaSummary(
            names[0],
            names[: self.signers],
            tuple(names[index] for index in self.programs),
            names,
            address(self.blockhash),
        )

    def signed(self, signature: bytes) -> bytes | None:
        """The transaction with its only signature (64 bytes); None where others sign too."""
        return b"\x01" + signature + self.encoded if self.signers == 1 else None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Raises PayloadError at the end."""
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise PayloadError("the Solana message ends early")
        self._at += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def count(self) -> int:
        """A compact-u16: 7 bits a byte, the lowest first, in as few bytes as it needs. Raises PayloadError."""
        value = 0
        for place in range(3):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * place)
            if not byte & 0x80:
                if (byte == 0 and place > 0) or value > 0xFFFF:
                    break
                return value
        raise PayloadError("a length in the Solana message is not in its shortest form")

    def finish(self) -> None:
        """Raises PayloadError unless all was read."""
        if self._at != len(self._data):
            raise PayloadError("something stands behind the Solana message")


def parse(data: bytes) -> SolanaMessage:
    """A message, legacy or version 0. Raises PayloadError for anything that is not exactly one."""
    if len(data) > MAX_BYTES:
        raise PayloadError(
            f"the Solana message has {len(data)} bytes, at most {MAX_BYTES} fit into a transaction"
        )
    reader = _Reader(data)
    first = reader.byte()
    versioned = bool(first & _VERSION_0)
    if versioned and first != _VERSION_0:
        raise PayloadError(f"a Solana message of version {first & 0x7F}; legacy ones and version 0 are known")
    signers = reader.byte() if versioned else first
    readonly_signed, readonly_unsigned = reader.byte(), reader.byte()
    keys = tuple(reader.take(KEY_BYTES) for _ in range(reader.count()))
    if len(set(keys)) != len(keys):
        raise PayloadError("a key occurs twice in the Solana message")
    if not 0 < signers <= len(keys) or readonly_signed >= signers or readonly_unsigned > len(keys) - signers:
        raise PayloadError("the header of the Solana message does not fit its keys")
    blockhash = reader.take(KEY_BYTES)
    programs = tuple(_instruction(reader, len(keys), versioned=versioned) for _ in range(reader.count()))
    if versioned:
        for _ in range(reader.count()):
            _lookup(reader)
    reader.finish()
    return SolanaMessage(data, signers, keys, blockhash, programs)


def _instruction(reader: _Reader, keys: int, *, versioned: bool) -> int:
    """The index of its program, which stands in the message itself and pays for nothing. Raises PayloadError."""
    program = reader.byte()
    accounts = reader.take(reader.count())
    reader.take(reader.count())
    if not 0 < program < keys or (not versioned and any(index >= keys for index in accounts)):
        raise PayloadError("an instruction of the Solana message names a key that is not there")
    return program


def _lookup(reader: _Reader) -> None:
    """An address table and the indices of what is taken from it, to be written and to be read."""
    reader.take(KEY_BYTES)
    written, read = reader.take(reader.count()), reader.take(reader.count())
    if not written and not read:
        raise PayloadError("a lookup of the Solana message takes nothing from its table")
