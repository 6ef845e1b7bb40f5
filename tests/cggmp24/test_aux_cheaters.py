"""Auxiliary information with one malicious party (protocol.md 2.1, 7): a lie for every check, and who sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import gmpy2
import pytest
from cggmp24_cheating import MISPLACED, Cheat, assert_caught, changed, durable, lying, meddling, reports
from cggmp24_testing import aux_program, primes_of, run_aux
from session_testing import LEADING_ZERO, NEGATIVE_ZERO, says, tells
from tss_testing import TESTING_TINY, TINY
from zk_cases import Case, forge

from tss.cggmp24 import aux_info
from tss.effects import Effect, Send
from tss.envelope import holder
from tss.errors import (
    BadDecommit,
    BadModulusSize,
    BadPedersen,
    Equivocation,
    OutOfDomain,
    ProofInvalid,
    SchemaViolation,
    SharedPrime,
)
from tss.ring_pedersen import RingPedersen
from tss.zk import fac, mod

CHEATER, ALL = 2, (1, 3)
PRIMES = primes_of(TINY, 3)
P, Q_, P_HAT, Q_HAT = PRIMES[CHEATER]
N_OWN, N_HAT_OWN = P * Q_, P_HAT * Q_HAT
PB = TESTING_TINY.pb
# What round 2 reveals.
N, N_HAT, S, T, PSI, RHO, U = range(7)

NO_SUCH_W = [3, [[1, 0, 0, 1]] * TESTING_TINY.m]
"""For a square N there is no w with Jacobi symbol -1."""

honest = aux_program(PRIMES[CHEATER])


def prime(bits: int, residue: int, seed: object = 0) -> int:
    """A prime = `residue` mod 4 of exactly `bits` bits, top two set."""
    rnd = Random(repr((bits, residue, seed)))
    while True:
        p = rnd.getrandbits(bits) | 3 << bits - 2
        p += (residue - p) % 4
        if p.bit_length() == bits and gmpy2.is_prime(p):
            return p


def announced(what: str, place: int, new: Any, error: Any, check: str, *, program: Any = honest) -> Cheat:
    """Commits to a false value in round 1 and reveals it in round 2: the hash holds."""

    def hashed(values: tuple[Any, ...]) -> Any:
        return changed(values, 2 + place, new) if values[1] == CHEATER else values

    tamper = (says(2, lambda reveal: changed(reveal, place, new)),)
    return Cheat(what, error, check, ALL, tamper, lying(program, hashes={"aux-commit": hashed}))


def announced_modulus(
    what: str, factors: list[tuple[int, int]], error: Any, check: str, *, fac_too: bool = False
) -> Cheat:
    """A false N, with the best proofs about it that the naive prover can make."""
    modulus = 1
    for p, k in factors:
        modulus *= p**k

    def proofs(effect: Effect, own: Mapping[str, Any]) -> Effect:
        if not (isinstance(effect, Send) and effect.round == 3):
            return effect
        ctx, rid = own["ctx"], own["rid"]
        place = ctx.proof("mod", ctx.me, rid=rid)
        psi = NO_SUCH_W
        if any(k == 1 for _, k in factors):
            psi = forge(Case("mod", TINY, mod.Statement(gmpy2.mpz(modulus)), {"factors": factors}, ctx=place))
        p2p = dict(effect.p2p)
        if fac_too:
            for j in ctx.others:
                verifier = own["parties"][j.index]
                ring = RingPedersen(verifier.N_hat, verifier.s, verifier.t)
                wit = {"p": factors[0][0], "q_": factors[1][0]}
                place = ctx.proof("fac", ctx.me, j, rid)
                p2p[j] = forge(Case("fac", TINY, fac.Statement(gmpy2.mpz(modulus), ring), wit, ctx=place))
        return replace(effect, broadcast=psi, p2p=p2p)

    return announced(what, N, modulus, error, check, program=meddling(honest, proofs))


def schema(what: str, round_: int, *tamper: Any, by: tuple[int, ...] = ALL) -> Cheat:
    return Cheat(what, SchemaViolation, f"aux.r{round_}.schema", by, tamper)


def reveals(place: int, new: Any) -> Any:
    return says(2, lambda value: changed(value, place, new))


def in_psi(list_: int, place: int, new: Any) -> Callable[[Any], Any]:
    """A change in [[A_1..A_m], [z_1..z_m]]."""
    return lambda psi: changed(psi, list_, lambda items: changed(items, place, new))


def in_root(place: int, new: Any) -> Any:
    """A change in the last [x, a, b, z] of a mod proof."""
    return says(3, lambda psi: [psi[0], [*psi[1][:-1], changed(psi[1][-1], place, new)]])


def in_fac(place: int, new: Any) -> Any:
    return tells(3, lambda psi: changed(psi, place, new), to=1)


def fac_for(verifier: int) -> Callable[[Effect, Mapping[str, Any]], Effect]:
    """Party 1 gets a proof bound to it, but under the ring-Pedersen parameters of `verifier`."""

    def change(effect: Effect, own: Mapping[str, Any]) -> Effect:
        if not (isinstance(effect, Send) and effect.round == 3):
            return effect
        proof = aux_info._prove_fac(
            own["ctx"], holder(1), own["rid"], own["paillier"], own["parties"][verifier]
        )
        return replace(effect, p2p={**effect.p2p, holder(1): proof.to_value()})

    return change


def fac_exchanged(effect: Effect, _own: Mapping[str, Any]) -> Effect:
    if not (isinstance(effect, Send) and effect.round == 3):
        return effect
    return replace(effect, p2p={holder(1): effect.p2p[holder(3)], holder(3): effect.p2p[holder(1)]})


def other_byte(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def of_size(*parts: tuple[int, int]) -> list[tuple[int, int]]:
    """Different primes = 3 mod 4, (bits, exponent) each, whose product has exactly 2*pb bits."""
    for seed in range(1000):
        factors = [(prime(bits, 3, (seed, place)), k) for place, (bits, k) in enumerate(parts)]
        modulus = 1
        for p, k in factors:
            modulus *= p**k
        if modulus.bit_length() == 2 * PB and len(set(factors)) == len(parts):
            return factors
    raise AssertionError(f"no modulus of {parts}")


MESSAGES = [
    schema("V of 33 bytes", 1, says(1, lambda V: V + b"x")),
    schema("rho of 31 bytes", 2, reveals(RHO, b"r" * 31)),
    schema("u of 33 bytes", 2, reveals(U, b"u" * 33)),
    schema("a negative N", 2, reveals(N, -N_OWN)),
    schema("s is negative zero", 2, reveals(S, NEGATIVE_ZERO)),
    schema("t with a leading zero", 2, reveals(T, LEADING_ZERO)),
    schema("N past the cap on integers", 2, reveals(N, 1 << TESTING_TINY.max_integer_bits)),
    schema("prm with m-1 entries", 2, reveals(PSI, lambda psi: [psi[0][:-1], psi[1][:-1]])),
    schema("prm with m+1 entries", 2, reveals(PSI, lambda psi: [psi[0] + psi[0][:1], psi[1] + psi[1][:1]])),
    schema("prm without entries", 2, reveals(PSI, [[], []])),
    schema("mod with m-1 entries", 3, says(3, lambda psi: [psi[0], psi[1][:-1]])),
    schema("mod without entries", 3, says(3, lambda psi: [psi[0], []])),
    schema("a negative root", 3, in_root(0, lambda x: -x)),
    schema("fac without v", 3, tells(3, lambda psi: psi[:-1], to=1), by=(1,)),
    schema("fac with a negative commitment", 3, in_fac(0, lambda x: -x), by=(1,)),
]

DECOMMIT = [
    Cheat("V of something else", BadDecommit, "aux.r2.decommit", ALL, (says(1, lambda _: b"V" * 32),)),
    *(
        Cheat(f"another {name}", BadDecommit, "aux.r2.decommit", ALL, (reveals(place, new),))
        for name, place, new in (
            ("N", N, lambda x: x + 2),
            ("N^", N_HAT, lambda x: x + 2),
            ("s", S, lambda x: x + 1),
            ("t", T, lambda x: x + 1),
            ("A", PSI, in_psi(0, 5, lambda x: x + 1)),
            ("z", PSI, in_psi(1, 5, lambda x: x + 1)),
            ("rho", RHO, other_byte),
            ("u", U, other_byte),
        )
    ),
    *(
        Cheat(
            f"V {name}", BadDecommit, "aux.r2.decommit", ALL,
            program=lying(honest, hashes={"aux-commit": lambda v, put=put: (*put, *v[2:]) if v[1] == CHEATER else v}),
        )
        for name, put in (("of another session", (b"\0" * 32, CHEATER)), ("of another party", (b"\0" * 32, 1)))
    ),
]  # fmt: skip

MODULI = [
    announced("N is even", N, N_OWN + 1, BadModulusSize, "aux.r2.N"),
    announced("N is 0", N, 0, BadModulusSize, "aux.r2.N"),
    announced("N of a bit less", N, prime(PB, 3) * prime(PB - 1, 3), BadModulusSize, "aux.r2.N"),
    announced("N of a bit more", N, prime(PB, 3) * prime(PB + 1, 3), BadModulusSize, "aux.r2.N"),
    announced("N^ is even", N_HAT, N_HAT_OWN + 1, BadModulusSize, "aux.r2.N^"),
    announced("N^ of a bit less", N_HAT, prime(PB, 3) * prime(PB - 1, 3), BadModulusSize, "aux.r2.N^"),
    announced("N^ of a bit more", N_HAT, prime(PB, 3) * prime(PB + 1, 3), BadModulusSize, "aux.r2.N^"),
    announced("N^ is N", N_HAT, N_OWN, BadPedersen, "aux.r2.gcd"),
    announced("N^ shares a prime with N", N_HAT, P * prime(PB, 3), BadPedersen, "aux.r2.gcd"),
    announced("N shares a prime with N^", N, prime(PB, 3) * Q_HAT, BadPedersen, "aux.r2.gcd"),
]

PEDERSEN = [
    announced(what, place, new, BadPedersen, "aux.r2.ring-pedersen")
    for what, place, new in (
        ("s is 0", S, 0),
        ("s is 1", S, 1),
        ("s is -1", S, N_HAT_OWN - 1),
        ("s is not reduced", S, lambda s: s + N_HAT_OWN),
        ("s is no unit", S, 3 * P_HAT),
        ("t is 0", T, 0),
        ("t is 1", T, 1),
        ("t is -1", T, N_HAT_OWN - 1),
        ("t is N^", T, N_HAT_OWN),
        ("t is no unit", T, 5 * Q_HAT),
    )
]


def s_is_t() -> Cheat:
    known: dict[str, int] = {}

    def hashed(values: tuple[Any, ...]) -> Any:
        if values[1] != CHEATER:
            return values
        known["t"] = values[2 + T]
        return changed(values, 2 + S, values[2 + T])

    tamper = (says(2, lambda reveal: changed(reveal, S, reveal[T])),)
    program = lying(honest, hashes={"aux-commit": hashed})
    return Cheat("s is t", BadPedersen, "aux.r2.ring-pedersen", ALL, tamper, program)


PRM = [
    announced("s is not a power of t", S, lambda s: N_HAT_OWN - s, ProofInvalid, "aux.r2.prm:t^z = A*s^e"),
    announced("z + N^", PSI, in_psi(1, 0, lambda z: z + N_HAT_OWN), OutOfDomain, "aux.r2.prm:z range"),
    announced("A is 0", PSI, in_psi(0, 0, 0), OutOfDomain, "aux.r2.prm:A unit"),
    announced("A + N^", PSI, in_psi(0, 0, lambda A: A + N_HAT_OWN), OutOfDomain, "aux.r2.prm:A unit"),
    announced("another z", PSI, in_psi(1, -1, lambda z: z + 1), ProofInvalid, "aux.r2.prm:t^z = A*s^e"),
    *(
        Cheat(
            f"prm of {name}", ProofInvalid, "aux.r2.prm:t^z = A*s^e", ALL,
            program=lying(honest, proofs={"prm": change}),
        )
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip

MOD = [
    announced_modulus("N is prime", [(prime(2 * PB, 3), 1)], ProofInvalid, "aux.r3.mod:N composite"),
    announced_modulus("N is a square", [(prime(PB, 3), 2)], ProofInvalid, "aux.r3.mod:w Jacobi"),
    announced_modulus(
        "a factor is 1 mod 4", [(prime(PB, 1), 1), (prime(PB, 3), 1)], ProofInvalid, "aux.r3.mod:x^4 = (-1)^a w^b y"
    ),
    announced_modulus(
        "N has three factors", of_size((107, 1), (107, 1), (106, 1)), ProofInvalid, "aux.r3.mod:x^4 = (-1)^a w^b y"
    ),
    announced_modulus("N is p^2 q", of_size((107, 2), (106, 1)), ProofInvalid, "aux.r3.mod:z^N = y"),
    announced_modulus(
        "16 factors of 16 bits", of_size(*[(16, 1)] * 16, (66, 1)), ProofInvalid, "aux.r3.mod:x^4 = (-1)^a w^b y"
    ),
    *(
        Cheat(what, ProofInvalid, f"aux.r3.mod:{check}", ALL, (rule,))
        for what, check, rule in (
            ("w is 0", "w unit", says(3, lambda psi: [0, psi[1]])),
            (
                "the forgery with w = 0", "w unit",
                says(3, lambda psi: [0, [[0, a, 1, z] for _, a, _, z in psi[1]]]),
            ),
            ("w + N", "w unit", says(3, lambda psi: [psi[0] + N_OWN, psi[1]])),
            ("w with Jacobi symbol 1", "w Jacobi", says(3, lambda psi: [psi[0] ** 2 % N_OWN, psi[1]])),
            ("x is 0", "x unit", in_root(0, 0)),
            ("x + N", "x unit", in_root(0, lambda x: x + N_OWN)),
            ("z is 0", "z unit", in_root(3, 0)),
            ("a is 2", "a bit", in_root(1, 2)),
            ("b is 2", "b bit", in_root(2, 2)),
            ("the other a", "x^4 = (-1)^a w^b y", in_root(1, lambda a: 1 - a)),
            ("the other b", "x^4 = (-1)^a w^b y", in_root(2, lambda b: 1 - b)),
            ("another x", "x^4 = (-1)^a w^b y", in_root(0, lambda x: 2 * x % N_OWN)),
            ("another z", "z^N = y", in_root(3, lambda z: 2 * z % N_OWN)),
        )
    ),
    *(
        Cheat(
            f"mod of {name}", ProofInvalid, "aux.r3.mod:z^N = y", ALL, program=lying(honest, proofs={"mod": change})
        )
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip

FAC = [
    announced_modulus(
        "a factor of 31 bits", [(prime(31, 3), 1), (prime(2 * PB - 31, 3), 1)],
        ProofInvalid, "aux.r3.fac:z2 range", fac_too=True,
    ),
    announced_modulus(
        "a factor of 16 bits", of_size((16, 1), (304, 1)), ProofInvalid, "aux.r3.fac:z2 range", fac_too=True
    ),
    *(
        Cheat(what, error, f"aux.r3.fac:{check}", (1,), (rule,))
        for what, error, check, rule in (
            ("P is 0", OutOfDomain, "P unit", in_fac(0, 0)),
            ("z1 past its range", ProofInvalid, "z1 range", in_fac(5, 1 << 3 * PB)),
            ("-z2 past its range", ProofInvalid, "z2 range", in_fac(6, -1 << 3 * PB)),
            ("another z1", ProofInvalid, "s^z1 t^w1 = A*P^e", in_fac(5, lambda z: z + 1)),
            ("v of the other sign", ProofInvalid, "Q^z1 t^v = T*s^(N0*e)", in_fac(9, lambda v: -v)),
        )
    ),
    Cheat(
        "fac under another's N^", ProofInvalid, "aux.r3.fac:s^z1 t^w1 = A*P^e", (1,),
        program=meddling(honest, fac_for(3)),
    ),
    Cheat(
        "fac under the prover's own N^", ProofInvalid, "aux.r3.fac:s^z1 t^w1 = A*P^e", (1,),
        program=meddling(honest, fac_for(CHEATER)),
    ),
    *(
        Cheat(
            f"fac of {name}", ProofInvalid, "aux.r3.fac:s^z1 t^w1 = A*P^e", ALL,
            program=lying(honest, proofs={"fac": change}),
        )
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip


def caught(cheat: Cheat) -> None:
    """By those who can see it, and nothing new is stored."""
    outcomes = assert_caught(cheat, CHEATER, partial(run_aux, 3))
    assert not any(durable(outcomes[index]) for index in cheat.by)


def every(*cheats: Cheat) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("cheat", cheats, ids=lambda cheat: cheat.id)


@pytest.mark.attack("A3")
@pytest.mark.attack("A7")
@every(*MESSAGES)
def test_what_is_no_message(cheat: Cheat) -> None:
    caught(cheat)


@every(*DECOMMIT)
def test_what_was_not_committed_to(cheat: Cheat) -> None:
    caught(cheat)


@pytest.mark.attack("B7")
@pytest.mark.attack("B11")
@every(*MODULI)
def test_moduli_of_another_size_or_with_a_common_factor(cheat: Cheat) -> None:
    caught(cheat)


@pytest.mark.attack("B4")
@every(*PEDERSEN, s_is_t())
def test_ring_pedersen_parameters_that_hide_nothing(cheat: Cheat) -> None:
    caught(cheat)


@pytest.mark.attack("A2")
@pytest.mark.attack("A4")
@every(*PRM)
def test_false_proofs_of_ring_pedersen_parameters(cheat: Cheat) -> None:
    caught(cheat)


@pytest.mark.attack("A4")
@pytest.mark.attack("B1")
@pytest.mark.attack("B2")
@pytest.mark.attack("B3")
@every(*MOD)
def test_moduli_that_are_no_products_of_two_good_primes(cheat: Cheat) -> None:
    caught(cheat)


@pytest.mark.attack("A4")
@pytest.mark.attack("B1")
@every(*FAC)
def test_moduli_with_a_small_factor_and_false_proofs_of_none(cheat: Cheat) -> None:
    caught(cheat)


@pytest.mark.attack("B4")
def test_the_parameters_of_another_party_end_the_run_without_blame() -> None:
    """Whoever opens second copies N^, s and t, with the proof made anew: nobody can tell who copied."""
    primes = dict(PRIMES)
    primes[CHEATER] = (P, Q_, *PRIMES[1][2:])
    outcomes = run_aux(3, "copied", primes=primes, cheaters=[CHEATER], drop=reports)
    outcomes.assert_no_blame(SharedPrime)
    assert not any(durable(node) for node in outcomes.honest)


def test_fac_proofs_that_were_exchanged() -> None:
    """Bound to its verifier and made under its parameters: whichever equation fails first, both see it."""
    outcomes = run_aux(3, "exchanged", programs={CHEATER: meddling(honest, fac_exchanged)}, drop=reports)
    outcomes.assert_blamed(CHEATER, (ProofInvalid, OutOfDomain), check="aux.r3.fac:", by=ALL)


@pytest.mark.attack("C11")
@pytest.mark.parametrize(
    ("round_", "change"),
    [
        pytest.param(1, lambda _: b"V" * 32, id="V"),
        pytest.param(3, lambda psi: [psi[0] + 1, psi[1]], id="mod"),
    ],
)
def test_two_versions_of_a_broadcast(round_: int, change: Any) -> None:
    outcomes = run_aux(3, "echo", tamper={CHEATER: [says(round_, change, only_to=3)]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check=f"aux.r{round_}.msg", by=ALL)
    assert not any(durable(node) for node in outcomes.honest)
