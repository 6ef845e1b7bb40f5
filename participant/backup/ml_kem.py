"""ML-KEM-768 encapsulation with given randomness (FIPS 203, algorithm 17).

Whoever verifies a backup encrypts again what was opened, and has to get the same bytes: libraries offer encapsulation
with randomness of their own only. Decapsulation, which sees the private key, is `cryptography`'s.

Transforms are products with constant matrices modulo 3329; nothing here branches or indexes by a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Q: Final = 3329
N: Final = 256
K: Final = 3
PUBLIC_BYTES: Final = 384 * K + 32
CIPHERTEXT_BYTES: Final = 32 * (10 * K + 4)
MESSAGE_BYTES: Final = 32
_ZETA: Final = 17
_U_BITS: Final = 10
_V_BITS: Final = 4

Polynomial: TypeAlias = npt.NDArray[np.int64]
"""256 coefficients in [0, q)."""


def encapsulate(public: bytes, m: bytes) -> tuple[bytes, bytes]:
    """(shared secret, ciphertext) for a public key of 1184 bytes and 32 random bytes m: 32 and 1088 bytes.

    Raises ValueError for a key that FIPS 203's modulus check refuses.
    """
    if len(public) != PUBLIC_BYTES or len(m) != MESSAGE_BYTES:
        raise ValueError("an ML-KEM-768 public key has 1184 bytes, its message 32")
    digest = hashlib.sha3_512(m + hashlib.sha3_256(public).digest()).digest()
    return digest[:32], _encrypt(public, m, digest[32:])


def _encrypt(public: bytes, m: bytes, r: bytes) -> bytes:
    """K-PKE.Encrypt (algorithm 14)."""
    t_hat, A_hat = _key(public)
    noise = [_cbd2(hashlib.shake_256(r + bytes([counter])).digest(128)) for counter in range(2 * K + 1)]
    y_hat, e1, e2 = [_ntt(one) for one in noise[:K]], noise[K : 2 * K], noise[2 * K]
    u = [
        (_inverse_ntt(_sum(_multiply(A_hat[j][i], y_hat[j]) for j in range(K))) + e1[i]) % Q for i in range(K)
    ]
    bits = np.unpackbits(np.frombuffer(m, dtype=np.uint8), bitorder="little").astype(np.int64)
    v = (_inverse_ntt(_sum(_multiply(t_hat[j], y_hat[j]) for j in range(K))) + e2 + bits * ((Q + 1) // 2)) % Q
    return b"".join(_pack(_compress(one, _U_BITS), _U_BITS) for one in u) + _pack(
        _compress(v, _V_BITS), _V_BITS
    )


@lru_cache(maxsize=16)
def _key(public: bytes) -> tuple[list[Polynomial], list[list[Polynomial]]]:
    """t^ and A^ of a public key. Raises ValueError."""
    t_hat = [_unpack(public[384 * i : 384 * (i + 1)], 12) for i in range(K)]
    if any(int(one.max()) >= Q for one in t_hat):
        raise ValueError("this ML-KEM-768 public key has a coefficient that is not reduced")
    rho = public[384 * K :]
    return t_hat, [[_sample_ntt(rho + bytes([j, i])) for j in range(K)] for i in range(K)]


def _sum(polynomials: Iterable[Polynomial]) -> Polynomial:
    total: Polynomial = np.zeros(N, dtype=np.int64)
    for one in polynomials:
        total = (total + one) % Q
    return total


def _gammas() -> list[int]:
    """zeta^(2 BitRev7(i) + 1): the root modulo whose square polynomials stand at place i of the transform."""
    return [pow(_ZETA, 2 * int(f"{i:07b}"[::-1], 2) + 1, Q) for i in range(N // 2)]


_GAMMA: Final[Polynomial] = np.array(_gammas(), dtype=np.int64)
_FORWARD: Final[Polynomial] = np.array(
    [[pow(gamma, j, Q) for j in range(N // 2)] for gamma in _gammas()], dtype=np.int64
)
_BACKWARD: Final[Polynomial] = np.array(
    [[pow(gamma, -j, Q) * pow(N // 2, -1, Q) % Q for gamma in _gammas()] for j in range(N // 2)],
    dtype=np.int64,
)


def _transform(matrix: Polynomial, f: Polynomial) -> Polynomial:
    """The matrix on even and odd coefficients. Sums stay below 128 q^2 < 2^31."""
    return np.ascontiguousarray((matrix @ f.reshape(N // 2, 2)) % Q).reshape(N)


def _ntt(f: Polynomial) -> Polynomial:
    return _transform(_FORWARD, f)


def _inverse_ntt(f: Polynomial) -> Polynomial:
    return _transform(_BACKWARD, f)


def _multiply(f: Polynomial, g: Polynomial) -> Polynomial:
    """MultiplyNTTs (algorithm 11)."""
    a, b = f.reshape(N // 2, 2), g.reshape(N // 2, 2)
    h = np.empty((N // 2, 2), dtype=np.int64)
    h[:, 0] = (a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] % Q * _GAMMA) % Q
    h[:, 1] = (a[:, 0] * b[:, 1] + a[:, 1] * b[:, 0]) % Q
    return h.reshape(N)


def _sample_ntt(seed: bytes) -> Polynomial:
    """SampleNTT (algorithm 7), of public bytes."""
    length = 3 * N
    while True:
        stream = (
            np.frombuffer(hashlib.shake_128(seed).digest(length), dtype=np.uint8)
            .astype(np.int64)
            .reshape(-1, 3)
        )
        pairs = np.empty((len(stream), 2), dtype=np.int64)
        pairs[:, 0] = stream[:, 0] + 256 * (stream[:, 1] % 16)
        pairs[:, 1] = stream[:, 1] // 16 + 16 * stream[:, 2]
        found = pairs.reshape(-1)
        found = found[found < Q]
        if len(found) >= N:
            return found[:N]
        length *= 2


def _cbd2(data: bytes) -> Polynomial:
    """SamplePolyCBD with eta = 2 (algorithm 8)."""
    bits = (
        np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little").astype(np.int64).reshape(N, 4)
    )
    return (bits[:, 0] + bits[:, 1] - bits[:, 2] - bits[:, 3]) % Q


def _compress(f: Polynomial, bits: int) -> Polynomial:
    """round(2^bits / q * x) mod 2^bits."""
    return ((f << bits) + Q // 2) // Q % (1 << bits)


def _pack(f: Polynomial, bits: int) -> bytes:
    """ByteEncode (algorithm 5)."""
    digits = (f[:, None] >> np.arange(bits)) & 1
    return np.packbits(digits.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def _unpack(data: bytes, bits: int) -> Polynomial:
    """ByteDecode (algorithm 6), without reducing."""
    digits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little").astype(np.int64)
    return digits.reshape(-1, bits) @ (1 << np.arange(bits, dtype=np.int64))
