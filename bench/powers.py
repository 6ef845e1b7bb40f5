"""What each way of computing powers costs, in T (docs/performance.md): `python -m bench.powers`.

A line a computation, a column for each library that this machine has, medians. The first run searches two primes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import gmpy2
from gmpy2 import mpz

from bench.keys import kept_primes
from bench.measure import Reference, cpu_ms
from tss.modexp import FixedBase, OwnNonces, power_product, powers_of, powmod, powmod_secret
from tss.modexp.backend import Power, available, current, using
from tss.modexp.chains import yao
from tss.modexp.products import positive, straus
from tss.modexp.rings import ring
from tss.paillier import PaillierSecret
from tss.rand import randbelow

TIMES: Final = 5
ROUND: Final = 16
"""Ciphertexts or nonces at a time, as in a batch of presignatures."""

Measured = tuple[str, int, Callable[[], object]]
"""What, how many of it one call makes, the call."""


def main() -> None:
    """Print the table."""
    names = list(available())
    print(f"{'':58}" + "".join(f"{name:>12}" for name in names))
    reference = Reference()
    for what, count, call in [*_single(), *_chains(), *_tables(), *_owners()]:
        figures = []
        for name in names:
            reference.samples.clear()
            reference.sample()
            with using(name):
                cost = cpu_ms(call, TIMES)
            reference.sample()
            figures.append(f"{cost / count / reference.ms:12.3f}")
        print(f"{what:58}" + "".join(figures))


def _number(bits: int) -> mpz:
    """A random number of exactly so many bits, odd."""
    return randbelow(os.urandom, mpz(1) << bits) | mpz(1) << (bits - 1) | 1


def _single() -> Iterator[Measured]:
    for bits in (1536, 3072, 6144):
        base, exponent, modulus = _number(bits - 1), _number(min(bits, 3072)), _number(bits)
        lengths = f"{bits} bits to the {exponent.bit_length()}"
        yield f"public, {lengths}", 1, partial(powmod, base, exponent, modulus)
        yield f"secret, {lengths}", 1, partial(powmod_secret, base, exponent, modulus)
        if bits <= 3072:
            for many in (2, 8):
                powers = [Power(_number(bits - 1), _number(bits), _number(bits)) for _ in range(many)]
                yield (
                    f"secret, {lengths}, {many} together, each",
                    many,
                    partial(_together, powers),
                )


def _together(powers: Sequence[Power]) -> list[mpz]:
    return current().powers_secret(powers)


def _chains() -> Iterator[Measured]:
    N = _number(3072)
    for name, modulus in (("3072 bits", N), ("N^2 of 6144 bits", N * N)):
        base = _number(3000)
        exponents = [_number(bits) for bits in (256, 768, 768)]
        yield from _ways_of_several(name, base, exponents, modulus)
        for count, bits in ((16, 128), (16, 384), (100, 128), (2, 3072)):
            bases = [_number(3000) for _ in range(count)]
            exponents = [_number(bits) for _ in range(count)]
            yield from _ways_of_products(f"{name}, {count} to the {bits}", bases, exponents, modulus)


def _ways_of_several(name: str, base: mpz, exponents: Sequence[mpz], modulus: mpz) -> Iterator[Measured]:
    what = f"{name}, one base to the 256, 768, 768"
    integers = ring(modulus)
    yield f"{what}: one by one", 1, lambda: [powmod(base, e, modulus) for e in exponents]
    yield f"{what}: one chain", 1, lambda: yao(base, exponents, integers)
    yield f"{what}: powers_of", 1, lambda: powers_of(base, exponents, modulus)


def _ways_of_products(
    name: str, bases: Sequence[mpz], exponents: Sequence[mpz], modulus: mpz
) -> Iterator[Measured]:
    terms = positive(bases, exponents, modulus)
    integers = ring(modulus)
    yield f"{name}: one by one", 1, lambda: [powmod(b, e, modulus) for b, e in terms]
    if integers.is_pairs:
        numbers = ring(modulus, int(modulus.bit_length()) + 1)
        yield f"{name}: Straus, not in pairs", 1, lambda: straus(terms, numbers)
    yield f"{name}: Straus", 1, lambda: straus(terms, integers)
    yield f"{name}: power_product", 1, lambda: power_product(bases, exponents, modulus)


def _tables() -> Iterator[Measured]:
    N = _number(3072)
    base = gmpy2.powmod(_number(3000), 2, N)
    for bits in (771, 3843):
        exponent = _number(bits)
        yield f"3072 bits to the {bits}: powmod", 1, partial(powmod, base, exponent, N)
        for entries in (512, 1024, 2048):
            table = FixedBase(base, N, bits, entries)
            what = f"3072 bits to the {bits}: FixedBase of {table.memory / 1e6:.1f} MB"
            yield what, 1, partial(table.power, exponent)
    yield "3072 bits to the 3843: making the table", 1, lambda: FixedBase(base, N, 3843)


def _owners() -> Iterator[Measured]:
    key = PaillierSecret(*kept_primes(2))
    r, x = key.public.nonce(os.urandom), _number(3072)
    C = key.public.enc(5, r)
    nonces = OwnNonces(key.own)
    yield "x^e mod one's own N", 1, lambda: key.own.pow_mod_n(r, x)
    yield (
        f"x^e mod one's own N, {ROUND} together, each",
        ROUND,
        lambda: key.own.pow_mod_n_list([(r, x)] * ROUND),
    )
    yield "enc by anybody", 1, lambda: key.public.enc(5, r)
    yield "enc by the owner", 1, lambda: key.enc(5, r)
    yield f"r^N by the owner, {ROUND} together, each", ROUND, lambda: key.own.nth_powers([r] * ROUND)
    yield f"(r, r^N) by OwnNonces of {nonces.memory / 1e6:.1f} MB", 1, lambda: nonces.draw(os.urandom)
    yield "dec", 1, lambda: key.dec(C)
    yield f"dec, {ROUND} together, each", ROUND, lambda: key.dec_list([C] * ROUND)


if __name__ == "__main__":
    main()
