"""Several powers of one base."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.backend import current
from tss.modexp.plain import inverse
from tss.modexp.products import chain_cost
from tss.modexp.rings import SMALL, Element, Ring, ring
from tss.modexp.windows import digits, width_for


def powers_of(base: int | mpz, exponents: Sequence[int | mpz], modulus: int | mpz) -> list[mpz]:
    """[base^e mod modulus for e in exponents], signed, one squaring chain for all.

    For exponents that are public or EPHEMERAL (drawn for one proof or one presignature): the time depends on them. A secret
    that lives longer belongs into `powmod_secret`. Raises OutOfDomain when the base of a negative exponent has no inverse,
    and for a modulus below 1.
    """
    if modulus < 1:
        raise OutOfDomain("a modulus is not positive")
    modulus = mpz(modulus)
    sizes = [abs(mpz(exponent)) for exponent in exponents]
    integers = ring(modulus)
    if one_by_one([int(size.bit_length()) for size in sizes], modulus, integers):
        base = mpz(base) % modulus
        powers = [current().power(base, size, modulus) for size in sizes]
    else:
        powers = yao(mpz(base) % modulus, sizes, integers)
    return [inverse(power, modulus) if e < 0 else power for power, e in zip(powers, exponents, strict=True)]


def one_by_one(lengths: Sequence[int], modulus: mpz, integers: Ring) -> bool:
    """Whether powers of exponents of these lengths are cheaper one by one."""
    costs = current().costs
    bit = costs.bit_of_pairs if integers.is_pairs else costs.bit
    return modulus.bit_length() < SMALL or not pays(lengths, bit)


def pays(lengths: Sequence[int], bit: float) -> bool:
    """Whether one chain for exponents of these lengths is cheaper than powers one by one."""
    return chain_cost(lengths) < sum(lengths) * bit


def yao(base: mpz, exponents: Sequence[mpz], integers: Ring) -> list[mpz]:
    """The squares base^(2^i) once, and for each exponent one bucket a digit, which collects those at whose i it stands.

    A. C. Yao, On the evaluation of powers, SIAM J. Comput. 5 (1976), with sliding windows.
    """
    enter, multiply, square, leave, one, _ = integers
    due: defaultdict[int, list[tuple[dict[int, Element], int]]] = defaultdict(list)
    buckets_of: list[dict[int, Element]] = []
    for exponent in exponents:
        buckets_of.append({})
        for position, digit in digits(exponent, width_for(exponent.bit_length())):
            due[position].append((buckets_of[-1], digit))
    last = max(due, default=0)
    value = enter(base)
    for position in range(last + 1):
        for buckets, digit in due.get(position, ()):
            buckets[digit] = multiply(buckets[digit], value) if digit in buckets else value
        value = square(value)
    return [leave(_join(buckets, integers)) if buckets else one for buckets in buckets_of]


def _join(buckets: dict[int, Element], integers: Ring) -> Element:
    """The product of buckets[d]^d over odd digits d: (the product of all from d on, over d = 3, 5, ...)^2 times all."""
    _, multiply, square, _, _, _ = integers
    descending = sorted(buckets, reverse=True)
    collected = buckets[descending[0]]
    halves = None
    for digit in range(descending[0] - 2, 0, -2):
        halves = collected if halves is None else multiply(halves, collected)
        if digit in buckets:
            collected = multiply(collected, buckets[digit])
    return collected if halves is None else multiply(square(halves), collected)
