"""Eight powers at once by Intel's crypto_mb, which is in the Python package `ipp-crypto`, on CPUs with AVX512-IFMA.

In constant time by its published source (github.com/intel/cryptography-primitives, ifma_exp*_mb.c): windows of one width over
`exp_bits` bits, the whole table read by masks at every step. Its documentation lists no such test of these functions
of theirs (Security Validation of Library Functions).
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files
from math import inf
from typing import Final, NamedTuple

from gmpy2 import mpz

from tss.errors import InternalError
from tss.modexp.backend import Power
from tss.modexp.openssl import OpenSSL

LANES: Final = 8

_WORD: Final = 64


class _Size(NamedTuple):
    """Moduli of at most `bits` bits; `least` powers and more are cheaper so than one by one."""

    bits: int
    least: int


SIZES: Final = (_Size(1024, 2), _Size(2048, 4), _Size(3072, 2), _Size(4096, 2))
"""Found by measurement."""

_FROM: Final = 512
"""Bits of a modulus below which gmpy2 is as good."""

_LIBRARY: Final = ("ipp-crypto", "libcrypto_mb.so.13")
_NEEDED: Final = ("libintlc.so.5", "libimf.so", "libirng.so", "libsvml.so")
"""Of the Python package `intel-cmplr-lib-rt`: crypto_mb is linked against them and does not find them by itself."""

_Lanes = ctypes.c_void_p * LANES


def load(openssl: OpenSSL | None, runtime: str = "intel-cmplr-lib-rt") -> CryptoMb | None:
    """The backend, or None where OpenSSL or the packages are not installed, or the CPU lacks what they use."""
    if openssl is None:
        return None
    try:
        for name in _NEEDED:
            ctypes.CDLL(_located(runtime, name), ctypes.RTLD_GLOBAL)
        library = ctypes.CDLL(_located(*_LIBRARY))
    except OSError:
        return None
    library.mbx_is_crypto_mb_applicable.argtypes = (ctypes.c_uint64,)
    return CryptoMb(openssl.library, library) if library.mbx_is_crypto_mb_applicable(0) else None


def _located(package: str, name: str) -> str:
    """Where an installed package has a file. Raises OSError when it has none."""
    try:
        found = [str(file.locate()) for file in files(package) or () if file.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        raise OSError(f"{package} has no {name}")
    return found[0]


class CryptoMb(OpenSSL):
    """Lists of powers by crypto_mb, single ones by OpenSSL. For any thread."""

    name = "crypto_mb"

    def __init__(self, libcrypto: ctypes.CDLL, library: ctypes.CDLL) -> None:
        super().__init__(libcrypto)
        self._mbx = library
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._mbx.mbx_exp_BufferSize.argtypes = (number,)
        self._mbx.mbx_exp_mb8.argtypes = (pointer, pointer, pointer, number, pointer, number, pointer, number)
        self._mbx.mbx_exp_mb8.restype = ctypes.c_uint32
        self._scratch = threading.local()

    def powers_secret(self, powers: Sequence[Power]) -> list[mpz]:
        """Eight at a time, of like size; what is left alone goes through OpenSSL."""
        results: list[mpz] = [mpz(0)] * len(powers)
        alike: defaultdict[tuple[_Size, int], list[tuple[int, mpz]]] = defaultdict(list)
        for index, power in enumerate(powers):
            fit = _fit(power)
            if fit is None:
                results[index] = self.power_secret(*power)
            else:
                size, modulus = fit
                alike[size, -(-power.exponent.bit_length() // _WORD)].append((index, modulus))
        for (size, words), waiting in alike.items():
            for start in range(0, len(waiting), LANES):
                lanes = waiting[start : start + LANES]
                chosen = [powers[index] for index, _ in lanes]
                if len(lanes) < size.least:
                    found = super().powers_secret(chosen)
                else:
                    found = self._eight(chosen, [modulus for _, modulus in lanes], size.bits, words * _WORD)
                for (index, _), value in zip(lanes, found, strict=True):
                    results[index] = value
        return results

    def pass_fermat(self, numbers: Sequence[mpz]) -> list[bool]:
        """As `powers_secret`, which is the fastest for several; alone by OpenSSL."""
        if len(numbers) < LANES:
            return super().pass_fermat(numbers)
        powers = [Power(mpz(2), n - 1, n) for n in numbers]
        return [value == 1 for value in self.powers_secret(powers)]

    def cost_together(self, lengths: Sequence[int], modulus: mpz) -> float:
        """Measured for moduli of 2,000 to 4,096 bits: smaller ones are computed modulo a multiple that is too long."""
        if not modulus.bit_test(0) or not 2000 <= modulus.bit_length() <= SIZES[-1].bits:
            return inf
        if max(lengths) > 2000:
            return inf
        alike = Counter(-(-bits // _WORD) for bits in lengths)
        return sum(-(-count // LANES) * LANES * (10 + 0.16 * _WORD * words) for words, count in alike.items())

    def _eight(self, powers: list[Power], moduli: list[mpz], bits: int, exponent_bits: int) -> list[mpz]:
        """Up to eight powers, modulo multiples of their moduli of exactly `bits` bits; lanes without one repeat the first."""
        size = bits // 8
        rows = [
            _Row([power.base for power in powers], size),
            _Row([power.exponent for power in powers], exponent_bits // 8),
            _Row(moduli, size),
            _Row([mpz(0)] * LANES, size),
        ]
        base, exponent, modulus, result = rows
        scratch = self._buffer(bits)
        try:
            need_success(
                self._mbx.mbx_exp_mb8(
                    result.lanes,
                    base.lanes,
                    exponent.lanes,
                    exponent_bits,
                    modulus.lanes,
                    bits,
                    scratch,
                    len(scratch),
                )
            )
            return [value % power.modulus for value, power in zip(result.read(), powers, strict=False)]
        finally:
            for row in rows:
                row.clear()
            ctypes.memset(scratch, 0, len(scratch))

    def _buffer(self, bits: int) -> ctypes.Array[ctypes.c_char]:
        try:
            buffers: dict[int, ctypes.Array[ctypes.c_char]] = self._scratch.buffers
        except AttributeError:
            buffers = self._scratch.buffers = {}
        if bits not in buffers:
            buffers[bits] = ctypes.create_string_buffer(self._mbx.mbx_exp_BufferSize(bits))
        return buffers[bits]


class _Row:
    """One number a lane, each of `size` bytes, little-endian; the first again in lanes that are left over."""

    def __init__(self, values: Sequence[mpz], size: int) -> None:
        self._size = size
        numbers = [int(value).to_bytes(size, "little") for value in values]
        numbers += numbers[:1] * (LANES - len(numbers))
        self._buffer = ctypes.create_string_buffer(b"".join(numbers), size * LANES)
        start = ctypes.addressof(self._buffer)
        self.lanes = _Lanes(*range(start, start + size * LANES, size))

    def read(self) -> list[mpz]:
        raw = self._buffer.raw
        return [
            mpz(int.from_bytes(raw[i : i + self._size], "little")) for i in range(0, len(raw), self._size)
        ]

    def clear(self) -> None:
        ctypes.memset(self._buffer, 0, len(self._buffer))


def _fit(power: Power) -> tuple[_Size, mpz] | None:
    """A size in which a power can be computed, and the multiple of its modulus that has exactly so many bits."""
    modulus = power.modulus
    length = modulus.bit_length()
    if length < _FROM or not modulus.bit_test(0):
        return None
    for size in SIZES:
        if length <= size.bits:
            missing = size.bits - length
            multiple = modulus * ((mpz(1) << missing) - 1) if missing else modulus
            fits = multiple.bit_length() == size.bits and power.exponent.bit_length() <= size.bits
            return (size, multiple) if fits else None
    return None


def need_success(status: int) -> None:
    """Raise InternalError for a status of crypto_mb's that tells of a failed lane."""
    if status:
        raise InternalError("crypto_mb could not compute a power")
