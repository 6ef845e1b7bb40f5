"""Many proofs of one peer tested together: each equation to a random power, all of them multiplied (docs/performance.md).

What this accepts, item by item verification accepts but for an error of 2^-128, and but for factors of small order in
equations under a Paillier modulus, which no plaintext depends on, and of -1 in a ring whose primes are not there. What this refuses says nothing yet: the proofs are then
verified one by one, and that alone decides and blames.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gmpy2 import mpz

from tss.encoding import Value
from tss.errors import InternalError
from tss.modexp import power_product
from tss.paillier import PaillierPublic, PaillierSecret
from tss.rand import Rng, multipliers, unit
from tss.ring_pedersen import RingPedersenSecret
from tss.transcript import hash_commit, stream
from tss.zk.common import Checks, PaillierKey, PedersenKey, modulus, ring_items, ring_modulus
from tss.zk.equations import Powers

_DOMAIN: Final = "wallet-mpc/v1"

Plaintexts = Mapping[mpz, mpz]
"""Plaintexts by their ciphertexts. Secret."""

Test = Callable[[], Plaintexts | None]
"""A part of a batch, safe to run in another thread: None if it does not hold, else what it decrypted. Raises nothing."""

Decrypt = Callable[[PaillierSecret, Sequence[mpz], mpz], tuple[Plaintexts, mpz]]
"""(key, ciphertexts, C) to what may be the plaintexts of the ciphertexts, of which nobody may know more than of the
multipliers, and to the plaintext of C, in which there can be no doubt."""


def decrypt_all(key: PaillierSecret, ciphertexts: Sequence[mpz], C: mpz) -> tuple[Plaintexts, mpz]:
    """Without short cuts."""
    *plaintexts, m = key.dec_list([*ciphertexts, C])
    return dict(zip(ciphertexts, plaintexts, strict=True)), m


@dataclass(frozen=True)
class Own:
    """The verifier's own key, and what is special about some ciphertexts under it."""

    key: PaillierSecret
    known: Plaintexts = field(default_factory=dict, repr=False)
    """Of ciphertexts that the verifier itself has made."""
    wanted: Sequence[mpz] = ()
    """These are decrypted, and the batch holds only if their plaintexts are right, mod N."""
    decrypt: Decrypt = decrypt_all


@dataclass(frozen=True)
class _Equation:
    """For a key: enc(left; right) = product. For a ring: s^left t^right = product."""

    left: int | mpz
    right: int | mpz
    powers: Powers

    def items(self) -> list[Value]:
        return [self.left, self.right, *(number for power in self.powers for number in power)]


class Batch:
    """Takes the equations of many proofs, as `tss.zk.equations.Equations`, and tests them together.

    First `close`, once all proofs are in; only then are the multipliers drawn. Then `tests`. All methods are used by one
    thread at a time.
    """

    def __init__(self) -> None:
        self._paillier: defaultdict[PaillierKey, list[_Equation]] = defaultdict(list)
        self._rings: defaultdict[PedersenKey, list[_Equation]] = defaultdict(list)
        self._seed: bytes | None = None

    def paillier(
        self, _check: Checks, _name: str, key: PaillierKey, m: int | mpz, r: mpz, powers: Powers
    ) -> None:
        """Keeps it. Raises InternalError when the batch is closed."""
        self._open()
        self._paillier[key].append(_Equation(m, r, powers))

    def ring(
        self, _check: Checks, _name: str, ring: PedersenKey, a: int | mpz, b: int | mpz, powers: Powers
    ) -> None:
        """Keeps it. Raises InternalError when the batch is closed."""
        self._open()
        self._rings[ring].append(_Equation(a, b, powers))

    def close(self, rng: Rng) -> None:
        """No equations from here on. Draws 32 bytes, which with all that was gathered give the multipliers.

        So they are unpredictable when `rng` is good, and depend on every proof even if it is not.
        """
        self._open()
        gathered: list[Value] = [
            *([modulus(key), *(one.items() for one in these)] for key, these in self._paillier.items()),
            *([*ring_items(ring), *(one.items() for one in these)] for ring, these in self._rings.items()),
        ]
        self._seed = hash_commit(_DOMAIN, "batch-multipliers", rng(32), *gathered)

    def tests(self, own: Own | None = None) -> list[Test]:
        """One test for each key and ring: the batch holds if all do. Raises InternalError unless the batch is closed."""
        if self._seed is None:
            raise InternalError("a batch is tested before all proofs are in")
        seed = self._seed
        under_keys: dict[PaillierKey, list[_Equation]] = dict(self._paillier)
        if own is not None:
            under_keys.setdefault(own.key, [])
        made: list[Test] = []
        for key, equations in under_keys.items():
            rng = stream(seed, len(made))
            if isinstance(key, PaillierPublic):
                made.append(partial(_test_key, key, equations, rng))
            else:
                mine = own if own is not None and own.key is key else Own(key)
                made.append(partial(_test_own_key, mine, equations, rng))
        for ring, equations in self._rings.items():
            made.append(partial(_test_ring, ring, equations, stream(seed, len(made))))
        return made

    def _open(self) -> None:
        if self._seed is not None:
            raise InternalError("a proof comes after the multipliers were drawn")


def _weighted(values: Iterable[int | mpz], weights: Iterable[mpz]) -> mpz:
    return sum((w * v for v, w in zip(values, weights, strict=True)), mpz(0))


def _exponents(equations: Sequence[_Equation], weights: Sequence[mpz]) -> dict[mpz, mpz]:
    """Every base of the equations with its exponent in their weighted product."""
    total: defaultdict[mpz, mpz] = defaultdict(mpz)
    for equation, weight in zip(equations, weights, strict=True):
        for base, exponent in equation.powers:
            total[base] += weight * exponent
    return total


def _product(exponents: Mapping[mpz, mpz], N: mpz) -> mpz:
    return power_product(list(exponents), list(exponents.values()), N)


def _test_key(key: PaillierPublic, equations: Sequence[_Equation], rng: Rng) -> Plaintexts | None:
    """One N-th power for all of them."""
    weights = multipliers(rng, len(equations))
    m = _weighted((one.left for one in equations), weights)
    r = power_product([one.right for one in equations], weights, key.N)
    return {} if key.enc(m, r) == _product(_exponents(equations, weights), key.N2) else None


def _test_own_key(own: Own, equations: Sequence[_Equation], rng: Rng) -> Plaintexts | None:
    """Residues mod N, and plaintexts mod N, which need one decryption.

    A wanted C gets a multiplier f of its own: C^f stays in the product that is decrypted, and the plaintext that C is said
    to have stands for the rest of its power.
    """
    key, N = own.key, own.key.public.N
    weights = multipliers(rng, len(equations))
    exponents = _exponents(equations, weights)
    r = power_product([one.right for one in equations], weights, N)
    if key.own.pow_mod_n(r, N) != _product(exponents, N):
        return None
    m = _weighted((one.left for one in equations), weights)
    wanted = list(dict.fromkeys(own.wanted))
    kept = dict(zip(wanted, multipliers(rng, len(wanted)), strict=True))
    rest = {C: exponents.pop(C, mpz(0)) - f for C, f in kept.items()}
    for C in own.known.keys() & exponents.keys():
        m -= exponents.pop(C) * own.known[C]
    opened, decrypted = own.decrypt(key, wanted, _product(exponents | kept, key.public.N2))
    m -= sum(rest[C] * opened[C] for C in wanted)
    return opened if (decrypted - m) % N == 0 else None


def _test_ring(ring: PedersenKey, equations: Sequence[_Equation], rng: Rng) -> Plaintexts | None:
    """By the owner one power of t for all of them.

    The weighted product finds errors in the group of squares, whose order has no small factor. That an error is in it the
    owner sees by its primes; without them -1 can pass.
    """
    N_hat = ring_modulus(ring)
    weights = multipliers(rng, len(equations))
    if isinstance(ring, RingPedersenSecret):
        parities = [_product({C: mpz(x % 2) for C, x in one.powers}, N_hat) for one in equations]
        if not ring.are_squares(parities, unit(rng, N_hat)):
            return None
    a = _weighted((one.left for one in equations), weights)
    b = _weighted((one.right for one in equations), weights)
    return {} if ring.commit_public(a, b) == _product(_exponents(equations, weights), N_hat) else None
