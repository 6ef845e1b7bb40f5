"""Where the time of a presignature goes: operations counted by kind and size, times what each costs alone.

    python bench/operations.py                 # two signers, one presignature
    python bench/operations.py 3 16            # three signers, a batch of 16

Counts are of one run, times of others without any counting: the sum of counts times costs has to agree with the clock, or the
table leaves something out. From filled pools, as `python -m bench presign_2_busy`; figures are of one party.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

import gmpy2
from gmpy2 import mpz

from bench.keys import SUITE
from bench.measure import Reference
from bench.parties import Party, committee
from bench.presigning import POOLS, prepare, presign_together
from tss import transcript
from tss.groups import Point
from tss.groups.secp256k1 import Secp256k1Point
from tss.modexp import backend, chains, products, tables, windows
from tss.modexp.backend import Backend, Costs, Power
from tss.modexp.rings import Ring, ring
from tss.randomizers import tables as randomizers
from tss.randomizers.plain import MaskPair, NoncePair

RUNS: Final = 3
COST_SAMPLES: Final = 9


class Operation(NamedTuple):
    """A kind, the bits of the modulus (0: none) and of the exponent (0: none), and how many at a time."""

    kind: str
    modulus: int = 0
    exponent: int = 0
    at_once: int = 1


class Counts:
    """Operations by the phase of the session in which the party at `point` made them."""

    def __init__(self, party: Party) -> None:
        self.by_phase: defaultdict[str, Counter[Operation]] = defaultdict(Counter)
        self._party = party
        self._charged = party.charged
        self._here = False
        self._inside = False
        party.charged = self._charging  # type: ignore[method-assign]

    def _charging(self, call: Callable[[], Any]) -> Any:
        self._here = True
        try:
            return self._charged(call)
        finally:
            self._here = False

    def note(self, operation: Operation, count: int = 1) -> None:
        """One more."""
        session = self._party.session
        if self._here and not self._inside and session is not None:
            self.by_phase[session.phase][operation] += count

    def counted(self, function: Callable[..., Any], name: Callable[..., Operation]) -> Callable[..., Any]:
        """`function`, which is counted, and what it calls is not."""

        def call(*args: Any) -> Any:
            self.note(name(*args))
            outer, self._inside = self._inside, True
            try:
                return function(*args)
            finally:
                self._inside = outer

        return call


def _bits(number: int | mpz) -> int:
    """Its length in words of 64 bits: what costs depend on."""
    return -(-int(mpz(number).bit_length()) // 64) * 64


class Counting(Backend):
    """The backend that there is, counted."""

    def __init__(self, real: Backend, counts: Counts) -> None:
        self.real, self.counts, self.name = real, counts, real.name

    @property
    def costs(self) -> Costs:  # type: ignore[override]
        """The real one's."""
        return self.real.costs

    def power(self, base: mpz, exponent: mpz, modulus: mpz) -> mpz:
        """See Backend."""
        self.counts.note(Operation("power", _bits(modulus), _bits(exponent)))
        return self.real.power(base, exponent, modulus)

    def power_secret(self, base: mpz, exponent: mpz, modulus: mpz) -> mpz:
        """See Backend."""
        self.counts.note(Operation("secret power", _bits(modulus), _bits(exponent)))
        return self.real.power_secret(base, exponent, modulus)

    def powers_secret(self, powers: Sequence[Power]) -> list[mpz]:
        """See Backend: those of one size are computed together."""
        alike = Counter((_bits(power.modulus), _bits(power.exponent)) for power in powers)
        for (modulus, exponent), count in alike.items():
            self.counts.note(Operation("secret powers", modulus, exponent, count))
        return self.real.powers_secret(powers)

    def product_of_two(self, first: Power, second: Power) -> mpz:
        """See Backend."""
        self.counts.note(Operation("two powers", _bits(first.modulus), _bits(first.exponent)))
        return self.real.product_of_two(first, second)


def count_everything(counts: Counts) -> None:
    """From here on, in this process. Tables that exist already are not counted."""
    real = backend.current()
    backend._chosen[:] = [Counting(real, counts)]  # noqa: SLF001 - the one place where a backend can be exchanged

    def counting_ring(modulus: mpz) -> Ring:
        made = ring(modulus)
        name = Operation("product in pairs" if made.is_pairs else "product", _bits(modulus))
        return made._replace(
            multiply=counts.counted(made.multiply, lambda *_: name),
            square=counts.counted(
                made.square, lambda *_: name._replace(kind=name.kind.replace("product", "square"))
            ),
        )

    for module in (chains, products, tables):
        module.ring = counting_ring  # type: ignore[attr-defined]
    for module in (chains, products):
        module.digits = counts.counted(  # type: ignore[attr-defined]
            windows.digits, lambda exponent, _: Operation("windows", 0, _bits(exponent))
        )
    tables.FixedBase._columns = counts.counted(  # type: ignore[method-assign]  # noqa: SLF001 - what a comb costs beside its products
        tables.FixedBase._columns,  # noqa: SLF001 - as above
        lambda table, _: Operation("columns", 0, -(-table.bits // 64) * 64),
    )
    for name in ("gcd", "invert", "jacobi", "legendre"):
        counted = counts.counted(getattr(gmpy2, name), lambda _, n, name=name: Operation(name, _bits(n)))
        setattr(gmpy2, name, counted)
    randomizers.NonceProducts.multiply = counts.counted(  # type: ignore[method-assign]
        randomizers.NonceProducts.multiply, lambda made, *_: Operation("product of pairs", _bits(made.N))
    )
    randomizers.MaskProducts.multiply = counts.counted(  # type: ignore[method-assign]
        randomizers.MaskProducts.multiply, lambda made, *_: Operation("sum of masks", _bits(made.N_hat))
    )
    transcript.Challenger.__init__ = counts.counted(  # type: ignore[method-assign]
        transcript.Challenger.__init__, lambda *_: Operation("challenge")
    )
    group = type(SUITE.group)
    for name in ("mul_base", "mul_secret", "sum", "decode_point"):
        setattr(
            group,
            name,
            counts.counted(getattr(group, name), lambda *_, name=name: Operation(f"point {name}")),
        )
    for name, kind in (("__rmul__", "k*P"), ("__add__", "P+Q"), ("to_bytes", "to_bytes")):
        method = counts.counted(
            getattr(Secp256k1Point, name), lambda *_, kind=kind: Operation(f"point {kind}")
        )
        setattr(Secp256k1Point, name, method)


def cost_ms(operation: Operation) -> float:
    """Of one alone, in milliseconds: the median of some."""
    kind, modulus_bits, exponent_bits, at_once = operation
    rng = os.urandom

    def number(bits: int) -> mpz:
        return mpz(int.from_bytes(rng(bits // 8), "big")) | 1 | mpz(1) << (bits - 1) if bits else mpz(1)

    modulus = number(modulus_bits) if modulus_bits else mpz(1)
    if kind == "columns":
        table = tables.FixedBase(2, number(3072), exponent_bits)
        size = int(number(exponent_bits))
    if kind.endswith("in pairs"):
        modulus = number(modulus_bits // 2) ** 2
    real = backend.current()
    powers = [
        Power(number(modulus_bits) % modulus, number(exponent_bits), modulus) if exponent_bits else None
        for _ in range(max(2, at_once))
    ]
    group = SUITE.group
    scalar = number(exponent_bits) if exponent_bits else mpz(1)
    k, P = int.from_bytes(rng(32), "big") % group.q, group.mul_base(5)
    Q: Point = group.mul_base(7)
    integers = ring(modulus)
    x = integers.enter(powers[0].base if powers[0] else number(max(64, modulus_bits)) % modulus)
    y = number(max(64, modulus_bits)) % modulus
    first, second = powers[0], powers[1]
    nonces, masks = randomizers.NonceProducts(modulus), randomizers.MaskProducts(modulus)
    pair, mask = nonces.enter(NoncePair(y % modulus, y)), masks.enter(MaskPair(y, y))
    place = transcript.Context(rng(32), ["holder", 1], ["holder", 2], None, "x")
    many: list[Any] = [number(3072) for _ in range(16)]
    challenge = (SUITE, "aff-g", place, many[:8], many[8:])
    data = P.to_bytes()
    # P.to_bytes keeps what it has encoded.
    fresh = iter([group.mul_base(3 + index) for index in range(COST_SAMPLES * 4)])
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "power": (lambda: real.power(*_some(first)), 1),
        "secret power": (lambda: real.power_secret(*_some(first)), 1),
        "secret powers": (lambda: real.powers_secret([_some(power) for power in powers[:at_once]]), 1),
        "two powers": (lambda: real.product_of_two(_some(first), _some(second)), 1),
        "product": (lambda: integers.multiply(x, x), 500),
        "square": (lambda: integers.square(x), 500),
        "product in pairs": (lambda: integers.multiply(x, x), 500),
        "square in pairs": (lambda: integers.square(x), 500),
        "product of pairs": (lambda: nonces.multiply(pair, pair), 100),
        "sum of masks": (lambda: masks.multiply(mask, mask), 100),
        "challenge": (lambda: transcript.Challenger(*challenge), 10),
        "windows": (lambda: windows.digits(scalar, windows.width_for(exponent_bits)), 20),
        "columns": (lambda: table._columns(size), 20),  # noqa: SLF001 - as above
        "gcd": (lambda: gmpy2.gcd(y, modulus), 20),
        "invert": (lambda: gmpy2.invert(y, modulus), 20),
        "jacobi": (lambda: gmpy2.jacobi(y, modulus), 20),
        "legendre": (lambda: gmpy2.jacobi(y, modulus), 20),
        "point mul_base": (lambda: group.mul_base(k), 50),
        "point mul_secret": (lambda: group.mul_secret(k, P), 50),
        "point sum": (lambda: group.sum([P, Q]), 50),
        "point decode_point": (lambda: group.decode_point(data), 50),
        "point k*P": (lambda: k * P, 50),
        "point P+Q": (lambda: P + Q, 50),
        "point to_bytes": (lambda: next(fresh).to_bytes(), 2),
    }
    call, times = calls[kind]
    spent = []
    for _ in range(COST_SAMPLES):
        began = time.thread_time()
        for _ in range(times):
            call()
        spent.append(1000 * (time.thread_time() - began) / times)
    return median(spent)


def _some(power: Power | None) -> Power:
    if power is None:
        raise ValueError("a power without an exponent")
    return power


def main(signers: int = 2, batch: int = 1) -> None:
    """Print the tables."""
    parties = committee(signers)
    prepare(parties, batch)
    presign_together(parties, 1)
    reference, clock = Reference(), defaultdict[str, list[float]](list)
    for _ in range(RUNS):
        prepare(parties, batch)
        reference.sample()
        for party in parties:
            party.reset()
        presign_together(parties, batch)
        for phase, seconds in parties[0].seconds.items():
            clock[phase].append(1000 * seconds)
    POOLS.clear()
    counts = Counts(parties[0])
    count_everything(counts)
    # The tables are made anew, of rings that count.
    prepare(parties, batch)
    counts.by_phase.clear()
    presign_together(parties, batch)
    backend._chosen[:] = [backend._chosen[0].real]  # type: ignore[attr-defined]  # noqa: SLF001 - as above
    counted = dict(counts.by_phase)
    costs = {op: cost_ms(op) for op in {op for found in counted.values() for op in found}}
    T = reference.ms
    print(
        f"T = {T:.2f} ms; powers by {backend.current().name}; {signers} signers, {batch} at a time, of one party\n"
    )
    total: Counter[Operation] = sum(counted.values(), Counter())
    print(
        f"{'operation':22}{'modulus':>8}{'exponent':>9}{'at once':>8}{'count':>8}{'cost T':>10}{'all T':>9}"
    )
    for op, count in sorted(total.items(), key=lambda item: -item[1] * costs[item[0]]):
        print(
            f"{op.kind:22}{op.modulus or '':>8}{op.exponent or '':>9}{op.at_once:>8}{count:>8}"
            f"{costs[op] / T:>10.5f}{count * costs[op] / T:>9.2f}"
        )
    print(f"\n{'phase':22}{'counted T':>10}{'clock T':>10}{'ratio':>8}")
    everything = [0.0, 0.0]
    for phase in sorted({*counted, *clock}):
        model = sum(count * costs[op] for op, count in counted.get(phase, Counter()).items()) / T
        measured = median(clock[phase]) / T if clock[phase] else 0.0
        everything = [everything[0] + model, everything[1] + measured]
        print(f"{phase:22}{model:>10.2f}{measured:>10.2f}{model / measured if measured else 0:>8.2f}")
    print(f"{'all':22}{everything[0]:>10.2f}{everything[1]:>10.2f}{everything[0] / everything[1]:>8.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
