"""Powers by OpenSSL's libcrypto, through ctypes, which frees the interpreter lock while they are computed.

Secret exponents go through BN_mod_exp_mont_consttime: all words of the exponent are used, the table is read as a whole at every
step. Its numbers live in memory of OpenSSL's and are cleared after each use; the bytes on their way are Python's and
are not. BN_MONT_CTX is only read once it is made, so one for a modulus serves all threads; everything else is a thread's own.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Self

from gmpy2 import mpz

from tss.errors import InternalError
from tss.modexp.backend import Backend, Costs, Power

PAYS_FROM: Final = 1024
"""Bits of a modulus from which a call is cheaper than gmpy2's power (found by measurement)."""

MODULI: Final = 64
"""Montgomery contexts kept, those of the least recently used moduli are made anew."""

_NAMES: Final = ("libcrypto.so.3", "libcrypto.so.4", "libcrypto.3.dylib")

_POINTER: Final = ctypes.c_void_p
_INT: Final = ctypes.c_int
_FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "BN_new": (_POINTER, ()),
    "BN_clear": (None, (_POINTER,)),
    "BN_clear_free": (None, (_POINTER,)),
    "BN_CTX_new": (_POINTER, ()),
    "BN_CTX_free": (None, (_POINTER,)),
    "BN_lebin2bn": (_POINTER, (ctypes.c_char_p, _INT, _POINTER)),
    "BN_bn2lebinpad": (_INT, (_POINTER, ctypes.c_char_p, _INT)),
    "BN_MONT_CTX_new": (_POINTER, ()),
    "BN_MONT_CTX_set": (_INT, (_POINTER,) * 3),
    "BN_MONT_CTX_free": (None, (_POINTER,)),
    "BN_mod_exp_mont": (_INT, (_POINTER,) * 6),
    "BN_mod_exp_mont_consttime": (_INT, (_POINTER,) * 6),
    "BN_mod_exp_mont_word": (_INT, (_POINTER, ctypes.c_ulong, *(_POINTER,) * 4)),
    "BN_mod_exp2_mont": (_INT, (_POINTER,) * 8),
}


def load(names: tuple[str, ...] = _NAMES) -> OpenSSL | None:
    """The backend, or None where no libcrypto of these names has all that it needs."""
    for name in names:
        try:
            return OpenSSL(ctypes.CDLL(name))
        except (OSError, AttributeError):
            continue
    return None


class OpenSSL(Backend):
    """Powers by OpenSSL for odd moduli of 1,024 bits and more. For any thread."""

    name = "openssl"
    costs = Costs(0.68, 1.05, 0.15)

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raises AttributeError when the library lacks a function."""
        self.library = library
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            if result is not None:
                function.errcheck = _need
        self._mine = threading.local()
        self._montgomery = lru_cache(MODULI)(self._prepare)

    def power(self, base: mpz, exponent: mpz, modulus: mpz) -> mpz:
        """By BN_mod_exp_mont."""
        if not _pays(modulus):
            return super().power(base, exponent, modulus)
        return self._power(self.library.BN_mod_exp_mont, base, exponent, modulus)

    def power_secret(self, base: mpz, exponent: mpz, modulus: mpz) -> mpz:
        """By BN_mod_exp_mont_consttime."""
        if not _pays(modulus):
            return super().power_secret(base, exponent, modulus)
        return self._power(self.library.BN_mod_exp_mont_consttime, base, exponent, modulus)

    def pass_fermat(self, numbers: Sequence[mpz]) -> list[bool]:
        """By BN_mod_exp_mont_word: a power of 2 is squarings and shifts."""
        return [self._passes_fermat(n) for n in numbers]

    def _passes_fermat(self, n: mpz) -> bool:
        if not _pays(n):
            return super().pass_fermat([n])[0]
        numbers = self._numbers()
        # Not one of those that are kept: no candidate is met twice, and one of them may become a secret.
        montgomery = _Montgomery(self.library, n, numbers.context)
        with numbers:
            self.library.BN_mod_exp_mont_word(
                numbers.result,
                2,
                numbers.take(n - 1),
                montgomery.modulus,
                numbers.context,
                montgomery.pointer,
            )
            return bool(numbers.read(montgomery.size) == 1)

    def product_of_two(self, first: Power, second: Power) -> mpz:
        """By BN_mod_exp2_mont: one squaring chain."""
        if not _pays(first.modulus):
            return super().product_of_two(first, second)
        montgomery, numbers = self._montgomery(first.modulus), self._numbers()
        with numbers:
            a, b, c, d = (numbers.take(x) for x in (first.base, first.exponent, second.base, second.exponent))
            self.library.BN_mod_exp2_mont(
                numbers.result, a, b, c, d, montgomery.modulus, numbers.context, montgomery.pointer
            )
            return numbers.read(montgomery.size)

    def _power(self, function: Callable[..., int], base: mpz, exponent: mpz, modulus: mpz) -> mpz:
        montgomery, numbers = self._montgomery(modulus), self._numbers()
        with numbers:
            a, b = numbers.take(base), numbers.take(exponent)
            function(numbers.result, a, b, montgomery.modulus, numbers.context, montgomery.pointer)
            return numbers.read(montgomery.size)

    def _prepare(self, modulus: mpz) -> _Montgomery:
        return _Montgomery(self.library, modulus, self._numbers().context)

    def _numbers(self) -> _Numbers:
        try:
            numbers: _Numbers = self._mine.numbers
        except AttributeError:
            numbers = self._mine.numbers = _Numbers(self.library)
        return numbers


class _Montgomery:
    """What BN_mod_exp_mont wants to know of a modulus; cleared when it is no longer used."""

    def __init__(self, library: ctypes.CDLL, modulus: mpz, context: int) -> None:
        self._library = library
        self.size = (int(modulus.bit_length()) + 7) // 8
        self.modulus = library.BN_lebin2bn(int(modulus).to_bytes(self.size, "little"), self.size, None)
        self.pointer = library.BN_MONT_CTX_new()
        library.BN_MONT_CTX_set(self.pointer, self.modulus, context)

    def __del__(self) -> None:
        self._library.BN_MONT_CTX_free(self.pointer)
        self._library.BN_clear_free(self.modulus)


class _Numbers:
    """A thread's own numbers, for one power at a time: cleared at the end of each `with`."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self.context = library.BN_CTX_new()
        self.result = library.BN_new()
        self._operands = [library.BN_new() for _ in range(4)]
        self._free = iter(self._operands)

    def __enter__(self) -> Self:
        self._free = iter(self._operands)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (self.result, *self._operands):
            self._library.BN_clear(number)

    def take(self, value: mpz) -> int:
        """A number of OpenSSL's with this value >= 0."""
        size = (int(value.bit_length()) + 7) // 8
        number: int = self._library.BN_lebin2bn(int(value).to_bytes(size, "little"), size, next(self._free))
        return number

    def read(self, size: int) -> mpz:
        """The result, of at most `size` bytes."""
        raw = ctypes.create_string_buffer(size)
        self._library.BN_bn2lebinpad(self.result, raw, size)
        value = mpz(int.from_bytes(raw, "little"))
        ctypes.memset(raw, 0, size)
        return value

    def __del__(self) -> None:
        for number in (self.result, *self._operands):
            self._library.BN_clear_free(number)
        self._library.BN_CTX_free(self.context)


def _pays(modulus: mpz) -> bool:
    return modulus.bit_length() >= PAYS_FROM and bool(modulus.bit_test(0))


def _need(result: int | None, *_: object) -> int:
    """What every function returns, unless it failed."""
    if result is None or result <= 0:
        raise InternalError("OpenSSL could not compute a power")
    return result
