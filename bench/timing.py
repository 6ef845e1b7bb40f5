"""Does the time of a secret operation depend on the secret? Welch's t, the way dudect does it.

    python bench/timing.py                      # everything: 20 000 samples a power, 10^6 a scalar operation
    python bench/timing.py --only dec,sigma     # some of it
    python bench/timing.py --powers 500 --scalars 5000

Two classes of inputs, one with a fixed secret and one with random secrets, in an order that a seed decides. Of the times
of both, t is computed over everything and over what lies below each of 100 percentiles (a preempted measurement says
nothing about the secret). |t| < 5 is the usual line for "no difference seen with so many samples"; it is no proof that
there is none. What is read is the processor time of the thread, so that being preempted does not count; the load of other
processes still shows through the caches. It hits both classes alike: it hides small differences, and makes none. With
--wall the clock on the wall is read, which is what others could do.

The controls are operations that must show: should one stay below the line, the measurement is blind.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz

from tss.cggmp24.presignature import Presignature, PresignaturePublic
from tss.groups import SECP256K1
from tss.modexp import powmod, powmod_secret
from tss.paillier import PaillierPublic, PaillierSecret
from tss.params import CGGMP24_SECP256K1, LEVEL_128
from tss.rand import Rng, randbelow, scalar, unit
from tss.ring_pedersen import RingPedersenSecret

LINE = 5.0
PERCENTILES = [1 - 0.5 ** (10 * (i + 1) / 100) for i in range(100)]
BATCH = 500
Q = SECP256K1.q

Sample = tuple[Any, ...]


@dataclass(frozen=True)
class Subject:
    """`sample(cls)` makes the arguments of one call; class 0 has the fixed secret. A `control` has to show."""

    name: str
    classes: str
    sample: Callable[[int], Sample]
    call: Callable[..., object]
    scalar: bool = False
    control: bool = False


def seeded(seed: object) -> Rng:
    """Bytes of SHAKE256(seed || counter)."""
    prefix, blocks = repr(seed).encode(), itertools.count()
    return lambda n: hashlib.shake_256(prefix + next(blocks).to_bytes(8, "big")).digest(n)


def measure(
    subject: Subject, count: int, rng: Rng, clock: Callable[[], int]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(classes, nanoseconds), each of `count`."""
    classes: list[int] = []
    times: list[int] = []
    call = subject.call
    while len(times) < count:
        size = min(BATCH, count - len(times))
        drawn = [byte & 1 for byte in rng(size)]
        samples = [subject.sample(cls) for cls in drawn]
        for sample in samples:
            begin = clock()
            call(*sample)
            end = clock()
            times.append(end - begin)
        classes += drawn
    return np.array(classes, dtype=np.int8), np.array(times, dtype=np.float64)


def welch(fixed: np.ndarray[Any, Any], random: np.ndarray[Any, Any]) -> float:
    """t of two samples; 0 when one is too small to say anything."""
    if min(len(fixed), len(random)) < 10:
        return 0.0
    spread = fixed.var(ddof=1) / len(fixed) + random.var(ddof=1) / len(random)
    return float((fixed.mean() - random.mean()) / np.sqrt(spread)) if spread else 0.0


@dataclass(frozen=True)
class Verdict:
    """`t`: over everything; `worst`: the largest by amount over all crops, at `percentile`."""

    t: float
    worst: float
    percentile: float
    median: float
    difference: float
    """Medians of the classes, fixed less random, in nanoseconds."""


def judge(classes: np.ndarray[Any, Any], times: np.ndarray[Any, Any]) -> Verdict:
    """See the module."""
    found = [(welch(times[classes == 0], times[classes == 1]), 1.0)]
    for share, limit in zip(PERCENTILES, np.quantile(times, PERCENTILES), strict=True):
        below = times < limit
        kept, kept_classes = times[below], classes[below]
        found.append((welch(kept[kept_classes == 0], kept[kept_classes == 1]), share))
    worst, percentile = max(found, key=lambda one: abs(one[0]))
    medians = [float(np.median(times[classes == cls])) for cls in (0, 1)]
    return Verdict(found[0][0], worst, percentile, float(np.median(times)), medians[0] - medians[1])


def units(modulus: mpz, rng: Rng) -> Iterator[mpz]:
    """Ever different units, cheaply: products of units."""
    factors = [unit(rng, modulus) for _ in range(8)]
    value = factors[0]
    for factor in itertools.cycle(factors[1:]):
        value = value * value * factor % modulus
        yield value


class Unchecked(PaillierPublic):
    """Its owner decrypts without the check of the ciphertext, whose time shows the ciphertext and N, both public: 9 of 20 us
    are branches that a processor knows when it sees one ciphertext again."""

    def check_ciphertext(self, C: int | mpz, what: str) -> None:
        """Nothing."""


def powers(rng: Rng) -> Iterator[Subject]:
    """Powers at full size, under keys that the seed makes."""
    key, peer = PaillierSecret.generate(LEVEL_128, rng), PaillierSecret.generate(LEVEL_128, rng).public
    unchecked = PaillierSecret(key.p, key.q_)
    unchecked.public = Unchecked(key.public.N)
    pedersen = RingPedersenSecret.generate(LEVEL_128, rng)
    N, N2 = key.public.N, key.public.N2
    p, q_ = key.p, key.q_
    h_p, h_q = gmpy2.invert(-q_, p), gmpy2.invert(-p, q_)

    def plain(C: mpz) -> mpz:
        """Decryption without blinding."""
        u_p, u_q = key.own.pow_mod_squares(C)
        m = key.own.combine((u_p - 1) // p * h_p % p, (u_q - 1) // q_ * h_q % q_)
        return m - N if m > key.public.half else m

    ciphertexts, bases, nth = (
        units(N2, rng),
        units(peer.N2, rng),
        (key.own.nth_power(z) for z in units(N, rng)),
    )
    nths = list(itertools.islice(nth, 8))

    def nonces() -> Iterator[mpz]:
        value = nths[0]
        for factor in itertools.cycle(nths[1:]):
            value = value * value * factor % N2
            yield value

    residues = nonces()
    C0, m0, gamma0 = next(ciphertexts), randbelow(rng, N), mpz(scalar(rng, Q))
    r_bound = mpz(1) << (LEVEL_128.l + LEVEL_128.modulus_bits)

    def ciphertext(cls: int) -> Sample:
        # The sum is a new object, as fresh to the cache as a random one.
        return (C0 + 0,) if cls == 0 else (next(ciphertexts),)

    def plaintext(cls: int) -> Sample:
        m = m0 if cls == 0 else randbelow(rng, N)
        return ((1 + m * N) * next(residues) % N2,)

    def small_plaintext(cls: int) -> Sample:
        # One prime gives what lies in +-p/2.
        m = m0 % (p // 2) if cls == 0 else randbelow(rng, p // 2)
        return ((1 + m * N) * next(residues) % N2,)

    def half(C: mpz) -> mpz:
        return unchecked.dec_mod_p([C])[0][0]

    def exponent(fixed: mpz) -> Callable[[int], Sample]:
        return lambda cls: (next(bases), fixed + 0 if cls == 0 else mpz(scalar(rng, Q)), peer.N2)

    def opening(cls: int) -> Sample:
        return (gamma0 + 0 if cls == 0 else mpz(scalar(rng, Q))), randbelow(rng, r_bound)

    def signed(cls: int) -> Sample:
        x = mpz(scalar(rng, Q))
        return next(bases), -x if cls == 0 else x, peer.N2

    def short(cls: int) -> Sample:
        x = randbelow(rng, mpz(1) << 192) if cls == 0 else mpz(scalar(rng, Q))
        return next(bases), x, peer.N2

    def by_class(cls: int) -> Sample:
        return cls, next(ciphertexts)

    yield Subject("dec-plaintext", "one plaintext | random ones", plaintext, key.dec)
    yield Subject("dec-ciphertext", "one ciphertext | random ones", ciphertext, unchecked.dec)
    yield Subject("plain-dec-ciphertext", "the same without blinding", ciphertext, plain)
    yield Subject("half-dec-plaintext", "by one prime: one plaintext | random ones", small_plaintext, half)
    yield Subject("half-dec-ciphertext", "by one prime: one ciphertext | random ones", ciphertext, half)
    yield Subject("K^gamma", "one gamma | random ones", exponent(gamma0), powmod_secret)
    yield Subject("K^x", "x = 2^255 | random ones", exponent(mpz(1) << 255), powmod_secret)
    yield Subject("commit", "s^x t^r: one x | random ones", opening, pedersen.public.commit)
    yield Subject("commit-own", "the same by the primes", opening, pedersen.commit)
    yield Subject("sign", "x < 0 | x > 0", signed, powmod_secret)
    yield Subject("short-exponent", "192 bits | 256 bits", short, powmod_secret, control=True)
    yield Subject("variable-power", "x = 2^255 | random ones", exponent(mpz(1) << 255), powmod, control=True)
    yield Subject(
        "cost",
        "dec without blinding | with",
        by_class,
        lambda cls, C: unchecked.dec(C) if cls else plain(C),
        control=True,
    )


def scalars(rng: Rng) -> Iterator[Subject]:
    """Operations with a share, a nonce or what a presignature holds."""
    P, k0 = SECP256K1.mul_base(scalar(rng, Q)), scalar(rng, Q).to_bytes(32, "big")
    chi0, sparse = scalar(rng, Q).to_bytes(32, "big"), (1 << 255).to_bytes(32, "big")
    public = PresignaturePublic(
        bytes(32), bytes(32), bytes(32), bytes(32), bytes(32), 1, (1, 2), P, P, {1: P, 2: P}, {1: P, 2: P}
    )
    e, req = rng(32), rng(32)
    m, r, xi, tau = (scalar(rng, Q) for _ in range(4))

    def drawn(fixed: bytes) -> Callable[[int], int]:
        # Both classes make their number from bytes: new objects of one size.
        return lambda cls: int.from_bytes(fixed if cls == 0 else rng(32), "big") % Q

    k, chi, thin = drawn(k0), drawn(chi0), drawn(sparse)

    def presignature(cls: int) -> Sample:
        held = Presignature(CGGMP24_SECP256K1, 1, public, k(cls), chi(cls))
        held.promise_with(bytes(32), (), tau, e)
        return req, held

    yield Subject("k*G", "one k | random ones", lambda cls: (k(cls),), SECP256K1.mul_base, scalar=True)
    yield Subject("k*P", "one k | random ones", lambda cls: (k(cls), P), SECP256K1.mul_secret, scalar=True)
    yield Subject(
        "sigma", "one (k~, chi~) | random ones", presignature,
        lambda request, held: held.answer(request, e, m, r, xi), scalar=True,
    )  # fmt: skip
    yield Subject(
        "variable-k*P", "k = 2^255 | random ones", lambda cls: (thin(cls),), lambda number: number * P,
        scalar=True, control=True,
    )  # fmt: skip


def main() -> None:
    """Measure and print a line for each subject."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--powers", type=int, default=20_000, help="samples of each power")
    parser.add_argument("--scalars", type=int, default=1_000_000, help="samples of each scalar operation")
    parser.add_argument(
        "--controls", type=int, default=2_000, help="samples of each control among the powers"
    )
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--wall", action="store_true", help="read the clock on the wall")
    options = parser.parse_args()
    chosen = set(filter(None, options.only.split(",")))
    clock = time.perf_counter_ns if options.wall else time.thread_time_ns
    print(f"seed {options.seed}, {clock.__name__}, gmpy2 {gmpy2.version()}, {gmpy2.mp_version()}")
    print(f"{'':22}{'samples':>9} {'median':>11} {'fixed-random':>13} {'t':>8} {'worst t':>8}  at")
    missed = []
    for subject in itertools.chain(
        powers(seeded((options.seed, "keys"))), scalars(seeded((options.seed, "scalars")))
    ):
        if chosen and subject.name not in chosen:
            continue
        count = options.scalars if subject.scalar else options.controls if subject.control else options.powers
        gc.collect()
        gc.disable()
        verdict = judge(*measure(subject, count, seeded((options.seed, subject.name)), clock))
        gc.enable()
        shows = abs(verdict.worst) > LINE
        if subject.control and not shows:
            missed.append(subject.name)
        note = (
            ("has to show" if subject.control else "SHOWS")
            if shows
            else "BLIND"
            if subject.control
            else "no difference"
        )
        print(
            f"{subject.name:22}{count:9d} {verdict.median / 1e3:8.1f} us {verdict.difference:10.0f} ns "
            f"{verdict.t:8.2f} {verdict.worst:8.2f}  p{100 * verdict.percentile:.0f}  {note}: {subject.classes}",
            flush=True,
        )
    if missed:
        raise SystemExit(f"the measurement is blind: {', '.join(missed)} should have shown")


if __name__ == "__main__":
    main()
