"""The public keys whose tokens open rooms: a JWK Set file (RFC 7517), read again when it changes.

Each key is good for one algorithm, which its kind decides: Ed25519 for EdDSA (RFC 8037), P-256 for ES256. What a token's
header says about itself never chooses the algorithm.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from kit.logs import get_logger
from kit.settings import Problem, SettingsError

EDDSA: Final = "EdDSA"
ES256: Final = "ES256"
MAX_FILE_BYTES: Final = 4 << 20
MAX_KEYS: Final = 10_000
MAX_KID: Final = 128
COORDINATE_BYTES: Final = 32

_P: Final = 2**255 - 19
_Y8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
# y of the points whose order divides 8: signatures "by" such a key are anybody's to make.
_SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

_log = get_logger(__name__)


class BadKeySet(Exception):
    """The file is no set of keys that tokens can be checked with; the text says what to correct."""


@dataclass(frozen=True)
class TokenKey:
    """One key. `number`: 32 bytes (Ed25519) or 64 (x and y of P-256), by which two keys are the same."""

    kid: str
    algorithm: str
    number: bytes

    def public(self) -> PublicKey:
        """As the library takes it. Raises ValueError for what is no point of its curve."""
        if self.algorithm == EDDSA:
            return ed25519.Ed25519PublicKey.from_public_bytes(self.number)
        point = b"\x04" + self.number
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


KeySet = Mapping[str, TokenKey]


def parse_key_set(data: bytes) -> KeySet:
    """The keys by their kid. Strict: one key that cannot be used makes the whole set unusable. Raises BadKeySet."""
    if len(data) > MAX_FILE_BYTES:
        raise BadKeySet(f"it is larger than {MAX_FILE_BYTES} bytes")
    try:
        tree = json.loads(data, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise BadKeySet(f"it is no JSON: {str(error)[:200]}") from None
    entries = tree.get("keys") if isinstance(tree, dict) else None
    if not isinstance(entries, list):
        raise BadKeySet('it is no JWK Set: expected {"keys": [...]}')
    if not 1 <= len(entries) <= MAX_KEYS:
        raise BadKeySet(f"it holds {len(entries)} keys; 1 to {MAX_KEYS} are expected")
    keys: dict[str, TokenKey] = {}
    for number, entry in enumerate(entries):
        try:
            key = _key(entry)
            key.public()
        except ValueError as error:
            raise BadKeySet(f"key {number}: {error}") from None
        if key.kid in keys:
            raise BadKeySet(f"key {number}: kid {key.kid!r} stands twice; every key has its own")
        keys[key.kid] = key
    return MappingProxyType(keys)


def _key(entry: Any) -> TokenKey:
    if not isinstance(entry, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - wrong content, not a caller's wrong type
    if {"d", "k"} & set(entry):
        raise ValueError("it holds a PRIVATE key: replace that key, and put only public halves here")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 1 <= len(kid) <= MAX_KID or not (kid.isascii() and kid.isprintable()):
        raise ValueError(f"its kid is not a text of 1 to {MAX_KID} printable ASCII characters")
    kind = (entry.get("kty"), entry.get("crv"))
    if kind == ("OKP", "Ed25519"):
        algorithm, number = EDDSA, _coordinate(entry, "x")
        if (int.from_bytes(number, "little") & (2**255 - 1)) % _P in _SMALL_ORDER:
            raise ValueError("it is a point of small order, for which anybody can sign")
    elif kind == ("EC", "P-256"):
        algorithm, number = ES256, _coordinate(entry, "x") + _coordinate(entry, "y")
    else:
        raise ValueError(
            f"kty and crv are {kind[0]!r:.40} and {kind[1]!r:.40}; OKP with Ed25519 and EC with P-256 are taken"
        )
    if entry.get("alg", algorithm) != algorithm:
        raise ValueError(f"its alg is {entry['alg']!r:.40}, but such a key is for {algorithm}")
    if entry.get("use", "sig") != "sig":
        raise ValueError("its use is not sig")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("its key_ops do not have verify")
    return TokenKey(kid, algorithm, number)


def _coordinate(entry: Mapping[str, Any], name: str) -> bytes:
    text = entry.get(name)
    try:
        value = base64.b64decode(text + "=", altchars=b"-_") if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        value = b""
    if len(value) != COORDINATE_BYTES or base64.urlsafe_b64encode(value).decode().rstrip("=") != text:
        raise ValueError(f"its {name} is not {COORDINATE_BYTES} bytes in base64url without padding")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


class KeyFile:
    """A key set on disk. A new version takes effect as a whole or, when it cannot be used, not at all."""

    def __init__(self, path: Path) -> None:
        """Reads it. Raises BadKeySet."""
        self.path = path
        self.on_change: Callable[[], None] = lambda: None
        """Called after another set took effect."""
        self.problem: str | None = None
        """Why the file's present content is not in force, None if it is."""
        self._seen = self._stamp()
        self.keys = self._read()

    def reload(self) -> bool:
        """Reads the file again; whether its content is in force now. The former keys stay if it cannot be used."""
        self._seen = self._stamp()
        try:
            keys = self._read()
        except BadKeySet as error:
            self.problem = str(error)
            _log.error(
                "THE KEY SET CANNOT BE USED, and the former one stays in force: correct the file",
                file=str(self.path),
                problem=self.problem,
            )
            return False
        self.problem = None
        added, gone = (
            set(keys.values()) - set(self.keys.values()),
            set(self.keys.values()) - set(keys.values()),
        )
        self.keys = keys
        _log.info("key set read", file=str(self.path), keys=len(keys), added=len(added), gone=len(gone))
        if added or gone:
            self.on_change()
        return True

    def look(self) -> None:
        """Reads the file again if it is another one than last time."""
        if self._stamp() != self._seen:
            self.reload()

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - once a second
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev

    def _read(self) -> KeySet:
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise BadKeySet(f"it cannot be read: {error.strerror}") from None
        return parse_key_set(data)


def open_key_set(path: Path | None) -> KeyFile | None:
    """The key set of the settings, None where they name none. Raises SettingsError."""
    if path is None:
        return None
    try:
        return KeyFile(path)
    except BadKeySet as error:
        raise SettingsError([Problem(str(path), "", f"access.key_set: {error}")]) from None
