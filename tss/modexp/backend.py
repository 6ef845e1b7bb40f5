"""Who computes the powers: gmpy2, which is always there, or a faster library that this machine has.

All give the same results (one conformance test holds them to that), so the choice is of speed alone. It is made when the
first power is computed; `choose` makes another for the process, `using` one for a piece of code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from math import inf
from typing import NamedTuple

import gmpy2
from gmpy2 import mpz

from tss.errors import BadParameters


class Power(NamedTuple):
    """base^exponent mod modulus, to be computed."""

    base: mpz
    exponent: mpz
    modulus: mpz


class Costs(NamedTuple):
    """Of public powers, in products of a ring (`tss.modexp.rings`); measured, and of no consequence but for speed."""

    bit: float
    """A bit of the exponent of `power`, modulo what is not computed with in pairs."""
    bit_of_pairs: float
    second: float
    """What the shorter exponent of `product_of_two` adds, as a part of the longer one's cost."""


class Backend:
    """Powers by gmpy2. What the other backends do not do better they leave to it."""

    name = "gmpy2"
    costs = Costs(0.97, 1.5, 1.0)

    def power(self, base: mpz, exponent: mpz, modulus: mpz) -> mpz:
        """For a PUBLIC exponent >= 0, a base in [0, modulus) and a modulus >= 1."""
        return gmpy2.powmod(base, exponent, modulus)

    def power_secret(self, base: mpz, exponent: mpz, modulus: mpz) -> mpz:
        """In constant time, for a SECRET exponent >= 1, a base in [0, modulus) and an odd modulus >= 1."""
        return gmpy2.powmod_sec(base, exponent, modulus)

    def powers_secret(self, powers: Sequence[Power]) -> list[mpz]:
        """Each in constant time, as `power_secret`."""
        return [self.power_secret(*power) for power in powers]

    def pass_fermat(self, numbers: Sequence[mpz]) -> list[bool]:
        """Whether 2^(n-1) = 1 mod n, for each odd n >= 3; variable time."""
        return [gmpy2.powmod(2, n - 1, n) == 1 for n in numbers]

    def cost_together(self, lengths: Sequence[int], modulus: mpz) -> float:  # noqa: ARG002 - for those that can
        """Of `powers_secret` for exponents of these lengths, as in `Costs`; infinite where one by one is as cheap."""
        return inf

    def product_of_two(self, first: Power, second: Power) -> mpz:
        """The product of two powers as for `power`, with one modulus."""
        return self.power(*first) * self.power(*second) % first.modulus


_here: ContextVar[Backend | None] = ContextVar("_here", default=None)
_chosen: list[Backend] = []


@cache
def available() -> dict[str, Backend]:
    """The backends that this machine has, by their names, the fastest last."""
    # They build on this module.
    from tss.modexp.crypto_mb import load as load_crypto_mb
    from tss.modexp.openssl import load as load_openssl

    library = load_openssl()
    there = (Backend(), library, load_crypto_mb(library))
    return {backend.name: backend for backend in there if backend is not None}


def current() -> Backend:
    """Who computes powers here and now."""
    here = _here.get()
    if here is not None:
        return here
    if not _chosen:
        _chosen.append(list(available().values())[-1])
    return _chosen[-1]


def choose(name: str | None) -> None:
    """From now on, in all threads, this backend, or the fastest one. Raises BadParameters when the machine lacks it."""
    _chosen[:] = [] if name is None else [_named(name)]


@contextmanager
def using(name: str) -> Iterator[Backend]:
    """This backend inside the `with`, in this thread or task alone. Raises BadParameters when the machine lacks it."""
    backend = _named(name)
    token = _here.set(backend)
    try:
        yield backend
    finally:
        _here.reset(token)


def _named(name: str) -> Backend:
    try:
        return available()[name]
    except KeyError:
        raise BadParameters(f"powers by {name}: there are {', '.join(available())}") from None
