"""Secrets at rest: an envelope of two keys.

Every value is sealed with AES-256-GCM-SIV under a random **data key**; the data key is wrapped under a key that is not
in the store (`KeyWrapper`: a password, a key file; hardware and cloud keys fit the same interface). Changing that outer
key wraps the data key anew and touches no sealed value.

The associated data of a value says what it is (`Place`), so a sealed value opens only in the row that it was made for.
AES-GCM-SIV with random nonces stays safe when a nonce repeats, which a snapshot of a running machine can bring about.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from participant.errors import NodeError
from participant.files import SecretFileError, create_private, read_private
from tss.encoding import Bytes, Integer, Text, Tuple, Value, decode, encode
from tss.errors import ProtocolError
from tss.rand import Rng

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
SALT_BYTES: Final = 16
FORMAT_BYTE: Final = 1
"""First byte of a sealed value; behind it the data key's number (4 bytes), nonce (12), ciphertext with tag (16)."""

_SEALED_HEADER: Final = 5
_WRAP_TAG: Final = "wallet-mpc/v1 data key"


class SealError(NodeError):
    """Base of what can go wrong with a seal."""


class WrongSealingKey(SealError):
    """The password or key does not open the store's data key."""


class SealBroken(SealError):
    """A sealed value was changed, or stands in a place that it was not made for."""


class KeyWrapper(ABC):
    """The outer key, which protects a store's data key. `form` names its kind in the store."""

    form: str
    note: str = ""
    """Which key it is, for people: stored beside what it wraps, and nothing secret."""

    @abstractmethod
    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """The data key under this key, with every parameter that `unwrap` needs."""

    @abstractmethod
    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """The data key. Raises WrongSealingKey."""


@dataclass(frozen=True)
class Place:
    """What a sealed value is: the associated data of everything in a store."""

    store_id: bytes
    table: str
    column: str
    row: Value = None
    """The row's own key, and what of its plain columns must not be exchanged: an ENC value."""
    account: str | None = None
    epoch: bytes | None = None
    party: int | None = None

    def to_bytes(self) -> bytes:
        """ENC of all fields."""
        return encode(
            [
                "wallet-mpc/v1 sealed",
                *(self.store_id, self.table, self.column, self.row),
                *(self.account, self.epoch, self.party),
            ]
        )


class EnvelopeSealer:
    """Authenticated encryption of what a store holds, with numbered data keys.

    New values are sealed under the highest number, old ones open under their own.
    """

    def __init__(self, data_keys: Mapping[int, bytes], rng: Rng = os.urandom) -> None:
        self._rng = rng
        self._keys: dict[int, bytes] = {}
        self._ciphers: dict[int, AESGCMSIV] = {}
        for number, key in sorted(data_keys.items()):
            self.add(number, key)

    @property
    def data_keys(self) -> dict[int, bytes]:
        """The keys by number, to be wrapped by another outer key."""
        return dict(self._keys)

    def add(self, number: int, key: bytes) -> None:
        """Seal under another data key (32 bytes) of a higher number from now on."""
        cipher = AESGCMSIV(key)
        self._keys[number], self._ciphers[number] = key, cipher
        self._newest = number

    def keep_only(self, number: int) -> None:
        """Forget all data keys but one."""
        self._keys = {number: self._keys[number]}
        self._ciphers = {number: self._ciphers[number]}

    @staticmethod
    def number_of(sealed: bytes) -> int:
        """Which data key a value was sealed under, by its header."""
        return int.from_bytes(sealed[1:_SEALED_HEADER], "big")

    def seal(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """Seal `plaintext` so that it opens only together with `associated_data`."""
        nonce, newest = self._rng(NONCE_BYTES), self._newest
        header = bytes([FORMAT_BYTE]) + newest.to_bytes(4, "big")
        return header + nonce + self._ciphers[newest].encrypt(nonce, plaintext, header + associated_data)

    def unseal(self, sealed: bytes, associated_data: bytes) -> bytes:
        """The plaintext. Raises SealBroken unless `sealed` was made by `seal` with the same associated data."""
        header, nonce, body = (
            sealed[:_SEALED_HEADER],
            sealed[_SEALED_HEADER : _SEALED_HEADER + NONCE_BYTES],
            sealed[_SEALED_HEADER + NONCE_BYTES :],
        )
        cipher = self._ciphers.get(int.from_bytes(header[1:], "big"))
        if len(nonce) != NONCE_BYTES or header[0] != FORMAT_BYTE or cipher is None:
            raise SealBroken("a sealed value is damaged: it has no known header")
        try:
            return cipher.decrypt(nonce, body, header + associated_data)
        except (InvalidTag, ValueError):
            raise SealBroken("a sealed value is damaged: it was changed or moved from its place") from None

    def __repr__(self) -> str:
        return f"EnvelopeSealer({len(self._ciphers)} data keys)"


@dataclass(frozen=True)
class Argon2Parameters:
    """Cost of turning a password into a key (RFC 9106)."""

    iterations: int
    lanes: int
    memory_kib: int

    def __post_init__(self) -> None:
        # The upper bounds keep a manipulated store from taking the machine's memory before it is found out.
        if not (
            1 <= self.iterations <= 64
            and 1 <= self.lanes <= 16
            and 8 * self.lanes <= self.memory_kib <= 1 << 22
        ):
            raise SealError(f"Argon2id parameters out of range: {self}")


STRONG: Final = Argon2Parameters(iterations=3, lanes=4, memory_kib=256 << 10)
"""Four times the memory of RFC 9106's second recommendation; well under a second on two cores."""

CHEAPEST_ONLY_FOR_TESTS: Final = Argon2Parameters(iterations=1, lanes=1, memory_kib=8)


class PasswordWrapper(KeyWrapper):
    """A key from a password by Argon2id; salt and parameters are stored with the wrapped key."""

    form = "password"

    def __init__(self, password: bytes, parameters: Argon2Parameters = STRONG, rng: Rng = os.urandom) -> None:
        if not password:
            raise SealError("the password is empty")
        self._password = password
        self._parameters = parameters
        self._rng = rng

    @classmethod
    def from_file(cls, path: Path, parameters: Argon2Parameters = STRONG) -> PasswordWrapper:
        """The password in a file of mode 0600; one newline at its end does not count."""
        password = read_private(path).removesuffix(b"\n").removesuffix(b"\r")
        if not password:
            raise SecretFileError(f"{path} is empty where a password is expected")
        wrapper = cls(password, parameters)
        wrapper.note = str(path)
        return wrapper

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """ENC of [form, iterations, lanes, memory in KiB, salt, nonce, ciphertext]."""
        salt, nonce, cost = self._rng(SALT_BYTES), self._rng(NONCE_BYTES), self._parameters
        header: list[Value] = [self.form, cost.iterations, cost.lanes, cost.memory_kib, salt]
        cipher = AESGCMSIV(self._key(salt, cost))
        return encode([*header, nonce, cipher.encrypt(nonce, data_key, encode(header) + associated_data)])

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """See `KeyWrapper.unwrap`. A wrong password and a changed wrapped key look alike."""
        cost_field = Integer(32)
        schema = Tuple(Text(32), cost_field, cost_field, cost_field, Bytes(SALT_BYTES), *CIPHERTEXT)
        *header, nonce, ciphertext = decode_wrapped(wrapped, schema, self.form)
        cost = Argon2Parameters(int(header[1]), int(header[2]), int(header[3]))
        cipher = AESGCMSIV(self._key(header[4], cost))
        try:
            return cipher.decrypt(nonce, ciphertext, encode(header) + associated_data)
        except InvalidTag:
            raise WrongSealingKey(
                "wrong password: it does not open the store's data key (or that key's record was changed)"
            ) from None

    def _key(self, salt: bytes, cost: Argon2Parameters) -> bytes:
        kdf = Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=cost.iterations,
            lanes=cost.lanes,
            memory_cost=cost.memory_kib,
        )
        return kdf.derive(self._password)

    def __repr__(self) -> str:
        return "PasswordWrapper()"


class KeyFileWrapper(KeyWrapper):
    """A random 32-byte key that stands, as 64 hexadecimal digits, in a file of mode 0600."""

    form = "key-file"

    def __init__(self, key: bytes, rng: Rng = os.urandom) -> None:
        if len(key) != KEY_BYTES:
            raise SealError(f"a sealing key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCMSIV(key)
        self._rng = rng

    @classmethod
    def create_file(cls, path: Path, rng: Rng = os.urandom) -> KeyFileWrapper:
        """Make a key and a new file for it. Raises SecretFileError when the file exists."""
        key = rng(KEY_BYTES)
        create_private(path, key.hex().encode() + b"\n")
        return cls(key)

    @classmethod
    def from_file(cls, path: Path) -> KeyFileWrapper:
        """Read a file that `create_file` made. Raises SecretFileError, SecretFileExposed."""
        text = read_private(path).removesuffix(b"\n")
        try:
            key = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            key = b""
        if len(text) != 2 * KEY_BYTES or len(key) != KEY_BYTES:
            raise SecretFileError(
                f"{path} is not a sealing key: {2 * KEY_BYTES} hexadecimal digits are expected"
            )
        wrapper = cls(key)
        wrapper.note = str(path)
        return wrapper

    def wrap(self, data_key: bytes, associated_data: bytes) -> bytes:
        """ENC of [form, nonce, ciphertext]."""
        nonce = self._rng(NONCE_BYTES)
        return encode([self.form, nonce, self._cipher.encrypt(nonce, data_key, associated_data)])

    def unwrap(self, wrapped: bytes, associated_data: bytes) -> bytes:
        """See `KeyWrapper.unwrap`."""
        _, nonce, ciphertext = decode_wrapped(wrapped, Tuple(Text(32), *CIPHERTEXT), self.form)
        try:
            return self._cipher.decrypt(nonce, ciphertext, associated_data)
        except InvalidTag:
            raise WrongSealingKey(
                "wrong key file: it does not open the store's data key (or that key's record was changed)"
            ) from None

    def __repr__(self) -> str:
        return "KeyFileWrapper()"


CIPHERTEXT: Final = (Bytes(NONCE_BYTES), Bytes(KEY_BYTES + 16))
"""Schemas of the nonce and of the data key with its tag, as most forms have them."""


def decode_wrapped(wrapped: bytes, schema: Tuple, form: str) -> list[Value]:
    """The fields of what a wrapper of `form` made, the form first. Raises SealError, WrongSealingKey."""
    try:
        fields: list[Value] = decode(wrapped, schema)
    except ProtocolError:
        raise SealError(f"the store's data key is damaged, or is not wrapped by a {form}") from None
    if fields[0] != form:
        raise WrongSealingKey(f"the store's data key is wrapped by a {fields[0]}, not by a {form}")
    return fields


def wrap_place(store_id: bytes, number: int) -> bytes:
    """The associated data of data key `number` of a store."""
    return encode([_WRAP_TAG, store_id, number])
