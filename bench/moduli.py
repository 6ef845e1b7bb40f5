"""What a party's steps of auxiliary information and its safe primes cost, each trick off and on, with every library, in T.

    python bench/moduli.py                  # auxiliary information
    python bench/moduli.py sieve            # safe primes by the depth of the sieve

Processor time of one thread at full parameters, medians. The first run searches primes and keeps them in bench/.cache.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from math import exp
from pathlib import Path
from statistics import median

import gmpy2
from gmpy2 import mpz

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.keys import SUITE, kept_primes
from bench.measure import Reference
from tss import primes, sieve
from tss.modexp import pass_fermat, powmod
from tss.modexp.backend import available, using
from tss.paillier import PaillierSecret
from tss.rand import randbelow
from tss.ring_pedersen import RingPedersenSecret
from tss.transcript import Context
from tss.zk import fac, mod, prm

CTX = Context(b"s" * 32, ["holder", 1], None, b"r" * 32, "bench")
LEVEL = SUITE.level


class Step:
    """One line of the table: `off` is how it would be done without what makes it fast."""

    def __init__(
        self, name: str, off: Callable[[], object], on: Callable[[], object], times: int = 1
    ) -> None:
        self.name, self.off, self.on = name, off, on
        self.times = times
        """How often a party of three does it."""


def steps() -> list[Step]:
    found = [mpz(p) for p in kept_primes(6)]
    rng = os.urandom
    paillier = PaillierSecret(found[0], found[1])
    own, peer = (RingPedersenSecret.generate(LEVEL, rng, (found[k], found[k + 1])) for k in (2, 4))
    N, ring = paillier.public.N, own.public
    psi_prm = prm.prove(SUITE, CTX, prm.Statement(ring), own, rng)
    psi_mod = mod.prove(SUITE, CTX, mod.Statement(N), paillier.own, rng)
    witness = fac.Witness(paillier.p, paillier.q_)
    psi_fac = fac.prove(SUITE, CTX, fac.Statement(N, own.public), witness, rng)
    commitment, ys = mod.begin(SUITE, CTX, mod.Statement(N), rng)
    nth_root = gmpy2.invert(N, paillier.own.phi)
    masks = [randbelow(rng, own.phi) for _ in range(LEVEL.m)]
    statement = fac.Statement(N, peer.public)
    nonce, _ = fac.commit(SUITE, statement, witness, rng)

    def prime_by_64_rounds() -> object:
        return [gmpy2.is_prime(n, 24 + 64) for n in (found[0], found[0] >> 1)]

    def roots_one_by_one() -> None:
        w = commitment.w
        for y in ys:
            for prime in (paillier.p, paillier.q_):
                gmpy2.legendre(y, prime)
                fourth = ((prime + 1) // 4) ** 2 % (prime - 1)
                gmpy2.powmod_sec(w * y % prime, fourth, prime)
                gmpy2.powmod_sec(y % prime, nth_root % (prime - 1), prime)

    def first_messages() -> object:
        ring, n = peer.public, nonce
        Q = ring.commit(witness.q_, n.nu)
        return (
            ring.commit(witness.p, n.mu), ring.commit(n.alpha, n.x), ring.commit(n.beta, n.y), ring.commit(0, n.r),
            powmod(Q, n.alpha, ring.N_hat),
        )  # fmt: skip

    public, secret = fac.Statement(N, own.public), fac.Statement(N, own)
    return [
        Step("checking a prime", prime_by_64_rounds, lambda: primes.is_safe_prime(found[0]), 4),
        Step("prm, making A", lambda: [own.own.pow_mod_n(ring.t, a) for a in masks], lambda: own.powers_of_t(masks)),
        Step(
            "prm, verifying",
            lambda: [powmod(ring.t, z, ring.N_hat) for z in psi_prm.z],
            lambda: prm.verify(SUITE, CTX, prm.Statement(ring), psi_prm),
            2,
        ),
        Step("mod, roots", roots_one_by_one, lambda: mod.roots(paillier.own, commitment, ys)),
        Step(
            "mod, verifying",
            lambda: mod.verify(SUITE, CTX, mod.Statement(N), psi_mod),
            lambda: mod.verify(SUITE, CTX, mod.Statement(N), psi_mod, rng),
            2,
        ),
        Step("fac, first messages", first_messages, lambda: fac.commit(SUITE, statement, witness, rng), 2),
        Step(
            "fac, verifying",
            lambda: fac.verify(SUITE, CTX, public, psi_fac),
            lambda: fac.verify(SUITE, CTX, secret, psi_fac),
            2,
        ),
    ]  # fmt: skip


def in_T(call: Callable[[], object]) -> float:
    reference, spent = Reference(), []
    for _ in range(3):
        reference.sample(2)
        began = time.thread_time()
        call()
        spent.append(1000 * (time.thread_time() - began))
    reference.sample(2)
    return median(spent) / reference.ms


def aux() -> None:
    print(f"{'':22}{'a party':>8}" + "".join(f"{name + ' off':>16}{'on':>8}" for name in available()))
    for step in steps():
        line = f"{step.name:22}{step.times:>7}x"
        for name in available():
            with using(name):
                line += f"{in_T(step.off):16.2f}{in_T(step.on):8.2f}"
        print(line, flush=True)


def safe_primes() -> None:
    """Expected time of a prime: sieving, tests up to the first hit, and all rounds on it."""
    window, bits = 1 << 19, LEVEL.pb
    start = primes._random_start(bits, os.urandom)  # noqa: SLF001 - the window of a search
    found = mpz(kept_primes(1)[0])
    print(
        f"{'':6}{'sieve':>8}{'tests':>8}"
        + "".join(f"{name + ' a test':>18}{'a prime':>10}" for name in available())
    )
    for depth in (20, 21, 22, 23, 24, 25):
        sieve.sieving_primes(1 << depth)
        sieved = in_T(partial(sieve.survivors, start, 1 << depth, window))
        # As tss.primes.expected_tests: Mertens' third theorem, for p' and p alike.
        hit = (exp(0.5772156649) * depth / bits) ** 2
        empty = exp(-hit * len(sieve.survivors(start, 1 << depth, window)))
        line = f"2^{depth:<4}{sieved:8.1f}{1 / hit:8.0f}"
        for name in available():
            with using(name):
                some = [start + sieve.STEP * int(k) for k in sieve.survivors(start, 1 << 12, 1 << 12)[:8]]
                test = in_T(partial(pass_fermat, some)) / len(some)
                last = in_T(lambda: primes.is_safe_prime(found, primes.OWN_PRIME_ROUNDS))
            line += f"{test:18.3f}{sieved / (1 - empty) + test * (1 / hit + 4) * (1 + hit**0.5) + last:10.0f}"
        print(line, flush=True)


if __name__ == "__main__":
    safe_primes() if "sieve" in sys.argv[1:] else aux()
