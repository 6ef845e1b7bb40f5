"""Round 3 of auxiliary information: which error is named, and when N-th powers are tested together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cggmp24_cheating import changed, reports
from cggmp24_testing import primes_of, run_aux
from session_testing import identity_of, says, tells
from tss_testing import TINY, SeededRng

from tss.cggmp24 import aux_info
from tss.effects import Received, SessionContext
from tss.envelope import holder
from tss.errors import ProofInvalid
from tss.paillier import PaillierSecret
from tss.ring_pedersen import RingPedersen, RingPedersenSecret
from tss.zk import fac, mod

RID = b"r" * 32
LEVEL = TINY.level
NTH_ROOT, EQUATION = "aux.r3.mod:z^N = y", "aux.r3.fac:s^z1 t^w1 = A*P^e"


def bad_z(psi: list[Any]) -> list[Any]:
    return [psi[0], [*psi[1][:-1], changed(psi[1][-1], 3, lambda z: z + 1)]]


def bad_z1(psi: list[Any]) -> list[Any]:
    return changed(psi, 5, lambda z1: z1 + 1)


class Drawn:
    """Randomness that counts what was taken."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._rng = SeededRng("drawn")

    def __call__(self, size: int) -> bytes:
        self.sizes.append(size)
        return self._rng(size)


def round3(*, change_mod: Any = None, change_fac: Any = None) -> tuple[tuple[Any, Any], list[int]]:
    """What party 1 finds in the proofs of party 2, and what it drew for that."""
    parties = {party: identity_of(party).public for party in (holder(1), holder(2))}
    prover = SessionContext(TINY, b"s" * 32, holder(2), parties, SeededRng("prover"))
    drawn = Drawn()
    verifier = replace(prover, me=holder(1), rng=drawn)
    primes = primes_of(TINY, 2)
    paillier = PaillierSecret.generate(LEVEL, prover.rng, primes[2][:2])
    ring = RingPedersenSecret.generate(LEVEL, prover.rng, primes[1][2:])
    N = paillier.public.N
    psi_mod = mod.prove(
        TINY, prover.proof("mod", holder(2), rid=RID), mod.Statement(N), paillier.own, prover.rng
    ).to_value()
    psi_fac = fac.prove(
        TINY, prover.proof("fac", holder(2), holder(1), RID),
        fac.Statement(N, RingPedersen(*ring.public.as_list())), fac.Witness(paillier.p, paillier.q_), prover.rng,
    ).to_value()  # fmt: skip
    received = Received(
        change_mod(psi_mod) if change_mod else psi_mod, change_fac(psi_fac) if change_fac else psi_fac
    )
    return aux_info._round3_faults(verifier, holder(2), RID, N, ring, received), drawn.sizes


def test_honest_proofs_are_tested_together() -> None:
    assert round3() == ((None, None), [32])


def test_without_a_proof_of_no_small_factors_nothing_is_tested_together() -> None:
    (mod_fault, fac_fault), drawn = round3(change_fac=bad_z1)
    assert (mod_fault, drawn) == (None, [])
    assert (fac_fault.check, fac_fault.peer) == (EQUATION, 2)


def test_both_faults_are_found() -> None:
    (mod_fault, fac_fault), drawn = round3(change_mod=bad_z, change_fac=bad_z1)
    assert (mod_fault.check, mod_fault.peer, drawn) == (NTH_ROOT, 2, [])
    assert (fac_fault.check, fac_fault.peer) == (EQUATION, 2)


def test_what_does_not_hold_together_is_looked_at_one_by_one() -> None:
    (mod_fault, fac_fault), drawn = round3(change_mod=bad_z)
    assert (mod_fault.check, mod_fault.peer, fac_fault) == (NTH_ROOT, 2, None)
    assert drawn == [32]


@pytest.mark.parametrize(
    ("cheats", "blamed", "check"),
    [
        pytest.param({2: ["mod", "fac"]}, 2, NTH_ROOT, id="mod before fac"),
        pytest.param(
            {2: ["fac"], 3: ["mod"]}, 3, NTH_ROOT, id="mod of a later party before fac of an earlier"
        ),
        pytest.param({2: ["mod"], 3: ["mod"]}, 2, NTH_ROOT, id="mod in the order of parties"),
        pytest.param({2: ["fac"], 3: ["fac"]}, 2, EQUATION, id="fac in the order of parties"),
    ],
)
def test_which_error_is_named(cheats: dict[int, list[str]], blamed: int, check: str) -> None:
    lies = {"mod": says(3, bad_z), "fac": tells(3, bad_z1, to=1)}
    tamper = {party: [lies[lie] for lie in named] for party, named in cheats.items()}
    outcomes = run_aux(3, repr(cheats), tamper=tamper, cheaters=[2, 3], drop=reports)
    error = outcomes[1].error
    assert isinstance(error, ProofInvalid)
    assert (error.peer, error.check) == (blamed, check)


def test_every_core_has_a_share_of_the_proof() -> None:
    """The challenges are dealt out and the roots put back in their order, whatever their number."""
    sizes: list[int] = []
    roots = mod.roots

    def recorded(own: Any, w: Any, ys: Any) -> Any:
        sizes.append(len(ys))
        return roots(own, w, ys)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mod, "roots", recorded)
        run_aux(2, "shares").results()
    assert sizes == [LEVEL.m // 4] * 8
