"""Publicly verifiable encryption of discrete logarithms by cut and choose (docs/backup.md has the argument).

The prover has x = (x_1, ..., x_L) with public X_l = x_l * G_l. Each of 128 rows splits x into a + b, encrypts both halves,
and opens the one that the challenge chooses. Whoever verifies encrypts the opened half again; whoever holds the
private key decrypts the other half of any one honest row. 2^-128 bounds what a cheater gains by a try.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from participant.backup.errors import BackupInvalid, BackupLocked
from participant.backup.kem import RecoveryPrivate, RecoveryPublic
from tss.encoding import Bytes, Integer, ListOf, Schema, Tuple, Value, decode, encode
from tss.errors import ProtocolError
from tss.groups import Point
from tss.rand import Rng

ROWS: Final = 128
SEED_BYTES: Final = 32
SCALAR_BYTES: Final = 32
TAG_BYTES: Final = 16
_TAG: Final = "wallet-mpc/v1 pve"
_NONCE: Final = bytes(12)
"""Each row's key encrypts once."""


@dataclass(frozen=True)
class Statement:
    """What is proved about, and all that the challenge depends on besides the ciphertexts."""

    context: bytes
    key: RecoveryPublic
    points: tuple[Point, ...]


def _scalars(seed: bytes, statement: Statement) -> list[int]:
    """a: for each point 48 bytes of SHAKE256, modulo its group's order."""
    stream = hashlib.shake_256(b"wallet-mpc/v1 pve scalars\0" + seed).digest(48 * len(statement.points))
    return [
        int.from_bytes(stream[48 * place : 48 * (place + 1)], "big") % point.group.q
        for place, point in enumerate(statement.points)
    ]


def _encrypt(statement: Statement, half: int, seed: bytes, plaintext: bytes) -> bytes:
    """KEM ciphertext and AES-256-GCM under its secret; the randomness comes from `seed` alone."""
    randomness = hashlib.shake_256(b"wallet-mpc/v1 pve coins\0" + bytes([half]) + seed).digest(SEED_BYTES)
    secret, ciphertext = statement.key.encapsulate(randomness)
    return ciphertext + AESGCM(secret).encrypt(_NONCE, plaintext, bytes([half]))


def _decrypt(key: RecoveryPrivate, half: int, sealed: bytes) -> bytes:
    """Raises InvalidTag, ValueError, BackupError."""
    cut = key.public.ciphertext_bytes
    return AESGCM(key.decapsulate(sealed[:cut])).decrypt(_NONCE, sealed[cut:], bytes([half]))


def _pack(scalars: Sequence[int]) -> bytes:
    return b"".join(int(scalar).to_bytes(SCALAR_BYTES, "big") for scalar in scalars)


def _unpack(data: bytes, statement: Statement) -> list[int]:
    """Raises BackupInvalid for a scalar that is not below its group's order."""
    scalars = [
        int.from_bytes(data[place : place + SCALAR_BYTES], "big")
        for place in range(0, len(data), SCALAR_BYTES)
    ]
    # The rows' lengths were compared: as many scalars as points.
    if any(scalar >= point.group.q for scalar, point in zip(scalars, statement.points, strict=True)):
        raise BackupInvalid("the backup's proof is wrong: a scalar is out of range")
    return scalars


def _challenge(statement: Statement, A: list[list[Point]], c0: list[bytes], c1: list[bytes]) -> list[int]:
    """128 bits."""
    hashed = encode(
        [
            _TAG, statement.context, statement.key.kind, statement.key.encoded,
            [point.to_bytes() for point in statement.points],
            [[point.to_bytes() for point in row] for row in A], list(c0), list(c1),
        ]
    )  # fmt: skip
    digest = hashlib.sha512(hashed).digest()
    return [(digest[row // 8] >> (7 - row % 8)) & 1 for row in range(ROWS)]


def prove(statement: Statement, x: Sequence[int], rng: Rng) -> bytes:
    """ENC list of 128 rows [bit, opened seed, opened b or nothing, the other half's ciphertext]."""
    points = statement.points
    seeds = [(rng(SEED_BYTES), rng(SEED_BYTES)) for _ in range(ROWS)]
    a = [_scalars(seed, statement) for seed, _ in seeds]
    b = [
        _pack([(x_l - a_l) % point.group.q for x_l, a_l, point in zip(x, row, points, strict=True)])
        for row in a
    ]
    A = [[point.group.mul_base(a_l) for a_l, point in zip(row, points, strict=True)] for row in a]
    c0 = [_encrypt(statement, 0, seed, seed) for seed, _ in seeds]
    c1 = [_encrypt(statement, 1, seed, half) for (_, seed), half in zip(seeds, b, strict=True)]
    bits = _challenge(statement, A, c0, c1)
    rows: list[Value] = [
        [1, seeds[row][1], b[row], c0[row]] if bit else [0, seeds[row][0], b"", c1[row]]
        for row, bit in enumerate(bits)
    ]
    return encode(rows)


def _rows(statement: Statement, proof: bytes) -> list[tuple[int, bytes, bytes, bytes]]:
    """Raises BackupInvalid."""
    size = SCALAR_BYTES * len(statement.points)
    kem = statement.key.ciphertext_bytes + TAG_BYTES
    # A row opens a seed and keeps the scalars sealed, or the other way about: lengths are compared below.
    row: Schema = Tuple(Integer(1), Bytes(SEED_BYTES), Bytes(0, size), Bytes(0, kem + max(size, SEED_BYTES)))
    try:
        found = [tuple(fields) for fields in decode(proof, ListOf(row, ROWS))]
    except ProtocolError as error:
        raise BackupInvalid(f"the backup's proof is damaged: {error}") from None
    for bit, _, b, sealed in found:
        due = (size, kem + SEED_BYTES) if bit else (0, kem + size)
        if (len(b), len(sealed)) != due:
            raise BackupInvalid("the backup's proof is wrong: a row has another length")
    return [(int(bit), seed, b, sealed) for bit, seed, b, sealed in found]


def verify(statement: Statement, proof: bytes) -> None:
    """Raise BackupInvalid unless the proof holds. Needs no private key."""
    points = statement.points
    rows = _rows(statement, proof)
    A: list[list[Point]] = []
    c0, c1 = [], []
    for bit, seed, b, sealed in rows:
        if bit:
            halves = zip(_unpack(b, statement), points, strict=True)
            A.append([point - point.group.mul_base(b_l) for b_l, point in halves])
            c0.append(sealed)
            c1.append(_encrypt(statement, 1, seed, b))
        else:
            halves = zip(_scalars(seed, statement), points, strict=True)
            A.append([point.group.mul_base(a_l) for a_l, point in halves])
            c0.append(_encrypt(statement, 0, seed, seed))
            c1.append(sealed)
    if _challenge(statement, A, c0, c1) != [row[0] for row in rows]:
        raise BackupInvalid("the backup's proof is wrong: it does not answer its challenge")


def open_(statement: Statement, proof: bytes, key: RecoveryPrivate) -> list[int]:
    """x, from the first row whose sealed half opens and fits. Raises BackupInvalid, BackupLocked."""
    for bit, seed, b, sealed in _rows(statement, proof):
        try:
            plaintext = _decrypt(key, 1 - bit, sealed)
            a = _scalars(plaintext if bit else seed, statement)
            other = _unpack(b if bit else plaintext, statement)
        except (InvalidTag, ValueError, BackupInvalid):
            continue
        x = [(a_l + b_l) % p.group.q for a_l, b_l, p in zip(a, other, statement.points, strict=True)]
        if all(p.group.mul_base(x_l) == p for x_l, p in zip(x, statement.points, strict=True)):
            return x
    raise BackupLocked(f"recovery key {key.public.fingerprint} opens no row of the backup")
