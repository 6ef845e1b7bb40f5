"""Auxiliary information (protocol.md 2.1): everybody's Paillier modulus and ring-Pedersen parameters, proven sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Final

import gmpy2
from gmpy2 import mpz

from tss.cggmp24.completion import complete, new_state
from tss.cggmp24.keygen import xor
from tss.effects import Compute, Echo, Progress, Protocol, PublicContext, Receive, Send, SessionContext
from tss.encoding import Bytes, Tuple, Value
from tss.envelope import PartyId
from tss.errors import BadDecommit, BadPedersen, SharedPrime, blaming
from tss.paillier import PaillierSecret, check_modulus
from tss.params import Suite
from tss.records import AuxPublic, AuxSet
from tss.ring_pedersen import RingPedersen, RingPedersenSecret
from tss.zk import fac, mod, prm
from tss.zk.common import PedersenKey, natural

KIND: Final = "aux"

TakePrimes = Callable[[], tuple[int, int, int, int]]
"""Hands out four safe primes of pb bits that were never used before: p, q_ of N and p, q_ of N^. May block."""


def tail(key_ids: Sequence[bytes] | None) -> list[Value]:
    """What protocol.md 0.7 lists for an aux run: the keys of the accounts that will use it, or none."""
    return [None if key_ids is None else list(key_ids)]


def rounds(suite: Suite) -> tuple[Receive, Receive, Receive]:
    """What is received: V; (N, N^, s, t, psi^prm, rho, u); psi^mod with psi^fac to each."""
    number = natural(suite)
    reveal = Tuple(number, number, number, number, prm.schema(suite), Bytes(32), Bytes(32))
    return (
        Receive(1, broadcast=Bytes(32), echo=Echo.BLOCKING),
        Receive(2, broadcast=reveal, echo=Echo.NEXT),
        Receive(3, broadcast=mod.schema(suite), p2p=fac.schema(suite), echo=Echo.BLOCKING),
    )


def aux_info(ctx: SessionContext, take_primes: TakePrimes) -> Protocol[AuxSet]:
    """Make this party's Paillier key and ring-Pedersen parameters and verify everybody else's.

    Raises PeerFault (with the peer), SharedPrime, SessionMismatch.
    """
    suite, i = ctx.suite, ctx.me.index
    round1, round2, round3 = rounds(suite)

    # Round 1
    yield Progress("aux: safe primes")
    (primes,) = yield Compute([take_primes])
    yield Progress("aux: own parameters")
    ((paillier, pedersen, psi_prm),) = yield Compute([partial(_own_parameters, ctx, primes)])
    own = AuxPublic(paillier.public.N, pedersen.public.N_hat, pedersen.public.s, pedersen.public.t)
    rho_i, u_i = ctx.rng(32), ctx.rng(32)
    reveal_i = [*own.as_list(), psi_prm.to_value(), rho_i, u_i]
    yield Send(1, broadcast=_commitment(ctx, i, reveal_i))
    committed = yield round1

    # Round 2
    yield Send(2, broadcast=reveal_i)
    revealed = yield round2
    yield Progress("aux: checking the others' parameters")
    yield Compute(
        [partial(check_reveal, ctx, j, committed[j].broadcast, revealed[j].broadcast) for j in ctx.others]
    )
    parties = {j.index: AuxPublic(*revealed[j].broadcast[:4]) for j in ctx.others} | {i: own}
    _check_distinct(parties)

    # Round 3
    rid = xor([rho_i, *(revealed[j].broadcast[5] for j in ctx.others)])
    witness_mod = paillier.own
    psi_mod, *psi_fac = yield Compute(
        [
            partial(
                mod.prove,
                suite,
                ctx.proof("mod", ctx.me, rid=rid),
                mod.Statement(own.N),
                witness_mod,
                ctx.rng,
            ),
            *(partial(_prove_fac, ctx, j, rid, paillier, parties[j.index]) for j in ctx.others),
        ]
    )
    yield Send(
        3,
        broadcast=psi_mod.to_value(),
        p2p={j: psi.to_value() for j, psi in zip(ctx.others, psi_fac, strict=True)},
    )
    proofs = yield round3
    yield Progress("aux: checking the others' moduli")
    yield Compute(
        [partial(check_mod, ctx, j, rid, parties[j.index].N, proofs[j].broadcast) for j in ctx.others]
        + [
            partial(check_fac, ctx, j, ctx.me, rid, parties[j.index].N, pedersen, proofs[j].p2p)
            for j in ctx.others
        ]
    )

    listed = [parties[index].as_list() for index in sorted(parties)]
    aux_id = ctx.hc("aux", ctx.sid, rid, listed)
    aux = AuxSet(suite, aux_id, i, parties, paillier, pedersen)
    yield from complete(ctx, new_state(ctx, KIND, share=None, aux=aux, aux_id=None))
    return aux


def _own_parameters(
    ctx: SessionContext, primes: tuple[int, int, int, int]
) -> tuple[PaillierSecret, RingPedersenSecret, prm.Proof]:
    level = ctx.suite.level
    paillier = PaillierSecret.generate(level, ctx.rng, (primes[0], primes[1]))
    pedersen = RingPedersenSecret.generate(level, ctx.rng, (primes[2], primes[3]))
    psi = prm.prove(ctx.suite, ctx.proof("prm", ctx.me), prm.Statement(pedersen.public), pedersen, ctx.rng)
    return paillier, pedersen, psi


def _commitment(ctx: PublicContext, i: int, reveal: Sequence[Value]) -> bytes:
    """V_i over N, N^, s, t, psi^prm, rho, u."""
    return ctx.hc("aux-commit", ctx.sid, i, *reveal)


def check_reveal(ctx: PublicContext, j: PartyId, V_j: bytes, reveal: Sequence[Value]) -> None:
    """Checks 1-5 of protocol.md 2.1, in their order."""
    N, N_hat, s, t, psi, _, _ = reveal
    level = ctx.suite.level
    with blaming(j.index, "aux.r2"):
        # 1
        if V_j != _commitment(ctx, j.index, reveal):
            raise BadDecommit("the reveal does not match the commitment of round 1", check="decommit")
        # 2
        for name, modulus in (("N", N), ("N^", N_hat)):
            with blaming(j.index, f"aux.r2.{name}"):
                check_modulus(modulus, level, name)
        # 3, the part that concerns one party
        if gmpy2.gcd(N, N_hat) != 1:
            raise BadPedersen("N and N^ share a factor", check="gcd")
        # 4
        ring = RingPedersen(N_hat, s, t)
        with blaming(j.index, "aux.r2.ring-pedersen"):
            ring.check(level)
        # 5
        proof = prm.Proof.from_value(psi)
        prm.verify(ctx.suite, ctx.proof("prm", j), prm.Statement(ring), proof)


def _check_distinct(parties: dict[int, AuxPublic]) -> None:
    """Check 3, the part between parties: nobody knows who copied, so nobody is blamed."""
    for (i, first), (j, second) in combinations(sorted(parties.items()), 2):
        if gmpy2.gcd(first.N * first.N_hat, second.N * second.N_hat) != 1:
            raise SharedPrime(f"the moduli of parties {i} and {j} share a factor")


def _prove_fac(
    ctx: SessionContext, j: PartyId, rid: bytes, paillier: PaillierSecret, verifier: AuxPublic
) -> fac.Proof:
    ring = RingPedersen(verifier.N_hat, verifier.s, verifier.t)
    statement = fac.Statement(paillier.public.N, ring)
    witness = fac.Witness(paillier.p, paillier.q_)
    return fac.prove(ctx.suite, ctx.proof("fac", ctx.me, j, rid), statement, witness, ctx.rng)


def check_mod(ctx: PublicContext, j: PartyId, rid: bytes, N: mpz, value: list[Value]) -> None:
    """Check 6."""
    with blaming(j.index, "aux.r3"):
        mod.verify(ctx.suite, ctx.proof("mod", j, rid=rid), mod.Statement(N), mod.Proof.from_value(value))


def check_fac(
    ctx: PublicContext, j: PartyId, i: PartyId, rid: bytes, N: mpz, ring: PedersenKey, value: list[Value]
) -> None:
    """Check 7, with the ring-Pedersen parameters `ring` of the verifier i, whose own secret form is faster."""
    with blaming(j.index, "aux.r3"):
        proof = fac.Proof.from_value(value)
        fac.verify(ctx.suite, ctx.proof("fac", j, i, rid), fac.Statement(N, ring), proof)
