"""Products of powers with public exponents, one squaring chain for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.backend import Backend, Power, current
from tss.modexp.plain import inverse
from tss.modexp.rings import SMALL, Element, Ring, ring
from tss.modexp.windows import digits, products, width_for

_Term = tuple[mpz, mpz]
"""(base, exponent >= 0)."""


def power_product(bases: Sequence[int | mpz], exponents: Sequence[int | mpz], modulus: int | mpz) -> mpz:
    """The product of bases[i]^exponents[i] mod modulus for PUBLIC signed exponents; 1 mod modulus for none.

    Raises OutOfDomain when the two lists differ in length, when the base of a negative exponent has no inverse, and for a
    modulus below 1.
    """
    if len(bases) != len(exponents):
        raise OutOfDomain("a product of powers has another number of bases than of exponents")
    if modulus < 1:
        raise OutOfDomain("a modulus is not positive")
    modulus = mpz(modulus)
    terms = longest_first(positive(bases, exponents, modulus))
    backend, integers = current(), ring(modulus)
    alone, together = plan([int(e.bit_length()) for _, e in terms], modulus, integers, backend)
    powers = [Power(base, exponent, modulus) for base, exponent in terms]
    values = backend.powers_secret(powers[alone:]) if together else [straus(terms[alone:], integers)]
    values += [backend.product_of_two(*two) for two in zip(powers[:alone:2], powers[1:alone:2], strict=False)]
    if alone % 2:
        values.append(backend.power(*powers[alone - 1]))
    product = integers.one
    for value in values:
        product = product * value % modulus
    return product


def longest_first(terms: list[_Term]) -> list[_Term]:
    """The same terms; which are computed in what way is then a question of how many."""
    return sorted(terms, key=lambda term: term[1], reverse=True)


def plan(lengths: Sequence[int], modulus: mpz, integers: Ring, backend: Backend) -> tuple[int, bool]:
    """(how many of the longest exponents are powers of their own, whether the others are powers of a list, not a chain)."""
    if modulus.bit_length() < SMALL:
        return len(lengths), False
    bit = backend.costs.bit_of_pairs if integers.is_pairs else backend.costs.bit
    alone = separate(lengths, bit, backend.costs.second)
    rest = lengths[alone:]
    return alone, bool(rest) and backend.cost_together(rest, modulus) < chain_cost(rest)


def positive(bases: Iterable[int | mpz], exponents: Iterable[int | mpz], modulus: mpz) -> list[_Term]:
    """The same product with exponents > 0 and bases in [0, modulus); all inverses by one inversion."""
    terms = [(mpz(b) % modulus, mpz(e)) for b, e in zip(bases, exponents, strict=True) if e]
    negative = [base for base, exponent in terms if exponent < 0]
    if not negative:
        return terms
    prefixes = [negative[0]]
    for base in negative[1:]:
        prefixes.append(prefixes[-1] * base % modulus)
    inverted = inverse(prefixes[-1], modulus)
    inverses = []
    for base, prefix in zip(reversed(negative), [*reversed(prefixes[:-1]), mpz(1)], strict=True):
        inverses.append(inverted * prefix % modulus)
        inverted = inverted * base % modulus
    return [(base, e) if e > 0 else (inverses.pop(), -e) for base, e in terms]


def chain_cost(lengths: Sequence[int]) -> float:
    """Products and squarings of one chain for exponents of these lengths."""
    return max(lengths, default=0) + sum(products(bits, width_for(bits)) for bits in lengths)


def separate(lengths: Sequence[int], bit: float, second: float) -> int:
    """How many exponents, of these lengths from the longest on, are cheaper as powers of their own, two by two.

    `bit` and `second` are the backend's `Costs`.
    """
    chained = chain_cost(lengths)
    alone = 0.0
    best, fewest = 0, chained
    chained -= max(lengths, default=0)
    for index, bits in enumerate(lengths):
        chained -= products(bits, width_for(bits))
        alone += bits * bit if index % 2 == 0 else lengths[index - 1] * bit * second
        rest = lengths[index + 1] if index + 1 < len(lengths) else 0
        if alone + chained + rest < fewest:
            best, fewest = index + 1, alone + chained + rest
    return best


def straus(terms: Sequence[_Term], integers: Ring) -> mpz:
    """The product of powers with exponents > 0: odd powers of every base, one chain of squarings, windows interleaved.

    E. G. Straus, Addition chains of vectors, Amer. Math. Monthly 71 (1964).
    """
    enter, multiply, square, leave, one, _ = integers
    if not terms:
        return one
    due: defaultdict[int, list[Element]] = defaultdict(list)
    for base, exponent in terms:
        width = width_for(exponent.bit_length())
        found = digits(exponent, width)
        odd = [enter(base)]
        twice = square(odd[0])
        for _ in range(max(digit for _, digit in found) >> 1):
            odd.append(multiply(odd[-1], twice))
        for position, digit in found:
            due[position].append(odd[digit >> 1])
    last = max(due)
    product, *rest = due[last]
    due[last] = rest
    for position in range(last, -1, -1):
        if position < last:
            product = square(product)
        for value in due.get(position, ()):
            product = multiply(product, value)
    return leave(product)
