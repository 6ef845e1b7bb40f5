"""Whole rounds of presigning verified together: nothing is verified alone unless something fails, and then as ever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cggmp24_cheating import changed, reports
from cggmp24_testing import Signers
from gmpy2 import mpz
from presign_cheating import EE_Z2, EE_Z3, PSI, PSI_HAT, N
from session_testing import Program, Tamper, says, tells
from tss_testing import SMALL_SECP, TESTING_TINY, TINY, TOY, SeededRng

from tss.cggmp24 import presign, presign_verify
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_verify import HIDING_BITS, WRAP_BITS, _ceiling, _decrypt
from tss.effects import Compute
from tss.errors import ProofInvalid
from tss.paillier import PaillierSecret
from tss.params import LEVEL_128, Suite
from tss.zk.batch import Batch

ROOMY = Suite("cggmp24-toy32/roomy", TOY, replace(TESTING_TINY, name="testing-roomy", pb=400))
"""Primes are long enough for plaintexts modulo one of them to be taken for plaintexts."""

Z3, Z4, W, W_Y = 9, 10, 11, 12
"""Fields of aff-g on the wire."""

SUITES = pytest.mark.parametrize("suite", [TINY, ROOMY], ids=lambda suite: suite.level.name)


class Watched(Presigning):
    """Says which items of which peers it verified alone."""

    alone: list[tuple[int, int, int]]

    def check_round1(self, k_: int, j: Any, *rest: Any) -> Any:
        self.alone.append((1, k_, j.index))
        return super().check_round1(k_, j, *rest)

    def check_round2(self, item: Any, k_: int, j: Any, *rest: Any) -> Any:
        self.alone.append((2, k_, j.index))
        return super().check_round2(item, k_, j, *rest)


def watched(signers: Signers, batch: int, alone: list[tuple[int, int, int]]) -> Program:
    """An honest party that keeps a list."""
    kind = type("Keeping", (Watched,), {"alone": alone})
    return lambda ctx: presign._rounds(signers.presigning(ctx, kind), batch, None)


def run(
    batch: int, suite: Suite = TINY, t: int = 3, **options: Any
) -> tuple[Any, list[tuple[int, int, int]]]:
    """A session of parties 1 to t, in which party 1 is watched."""
    alone: list[tuple[int, int, int]] = []
    signers = Signers(tuple(range(1, t + 1)), t, suite=suite)
    programs = {1: watched(signers, batch, alone)}
    return signers.presign(batch=batch, programs=programs, **options), alone


@SUITES
@pytest.mark.parametrize("batch", [1, 3])
def test_honest_rounds_are_never_verified_item_by_item(suite: Suite, batch: int) -> None:
    outcomes, alone = run(batch, suite, 2 if suite is ROOMY else 3)
    made = outcomes.results()
    assert alone == []
    assert all(node.error is None for node in outcomes.nodes.values())
    assert {len(items) for items in made.values() if isinstance(items, list)} == {batch}


def in_proof(k: int, proof: int, place: int, new: Any) -> Callable[[Any], Any]:
    return lambda items: changed(
        items, k, lambda item: changed(item, proof, lambda psi: changed(psi, place, new))
    )


ROUND1 = (
    ("k", 0, EE_Z3, lambda z: z - 1, "s^z1 t^z3 = T*S^e"),
    ("gamma", 1, EE_Z2, lambda z: 2 * z % N[2], "enc(z1; z2) = D*C^e"),
    ("gamma", 1, EE_Z3, lambda z: z + 1, "s^z1 t^z3 = T*S^e"),
)
ROUND2 = (
    ("gamma", PSI, W, lambda w: 2 * w % N[1], "C^z1*enc0(z2; w) = A*D^e"),
    ("gamma", PSI, Z4, lambda z: z + 1, "s^z2 t^z4 = F*T^e"),
    ("x", PSI_HAT, W_Y, lambda w: 2 * w % N[2], "enc1(z2; w_y) = By*Y^e"),
    ("x", PSI_HAT, Z3, lambda z: z - 1, "s^z1 t^z3 = E*S^e"),
)
CASES = [
    *((1, label, proof, place, new, f"enc-elg:{check}") for label, proof, place, new, check in ROUND1),
    *((2, label, proof, place, new, f"aff-g:{check}") for label, proof, place, new, check in ROUND2),
]


def blamed(outcomes: Any) -> tuple[int, str]:
    error = outcomes[1].error
    assert isinstance(error, ProofInvalid)
    assert error.peer is not None
    return error.peer, error.check


@pytest.mark.attack("B5")
@pytest.mark.parametrize("bad", range(3))
@pytest.mark.parametrize(("round_", "label", "proof", "place", "new", "check"), CASES)
def test_a_bad_item_at_any_place_is_blamed_as_item_by_item(
    round_: int, label: str, proof: int, place: int, new: Any, check: str, bad: int
) -> None:
    """A response that enters one equation between big numbers and nothing else: only the batch can see it."""
    rule = tells(round_, in_proof(bad, proof, place, new), to=1)
    alone: list[tuple[int, int, int]] = []
    signers = Signers((1, 2, 3), 4)
    programs = {1: watched(signers, 3, alone)}
    outcomes = signers.presign(batch=3, programs=programs, tamper={2: [rule]}, cheaters=(2,), drop=reports)
    assert blamed(outcomes) == (2, f"presign.r{round_}.item{bad}.{label}.{check}")
    # Party 3 passed; of party 2 every item was looked at by itself.
    assert {(r, j) for r, _, j in alone} == {(round_, 2)}


@pytest.mark.parametrize("round_", [1, 2])
def test_with_two_cheaters_the_first_by_item_is_blamed(round_: int) -> None:
    """Whoever it is: as if no items had been verified together."""
    _, label, proof, place, new, check = CASES[2] if round_ == 1 else CASES[4]
    rules: dict[int, list[Tamper]] = {
        2: [tells(round_, in_proof(2, proof, place, new), to=1)],
        3: [tells(round_, in_proof(1, proof, place, new), to=1)],
    }
    outcomes, alone = run(3, tamper=rules, cheaters=(2, 3), drop=reports)
    assert blamed(outcomes) == (3, f"presign.r{round_}.item1.{label}.{check}")
    assert sorted(alone) == [(round_, k, j) for k in range(3) for j in (2, 3)]


@pytest.mark.parametrize("round_", [1, 2])
def test_a_bad_broadcast_of_one_leaves_the_others_batch_alone(round_: int) -> None:
    place = 0 if round_ == 1 else 1
    rule = says(round_, lambda items: changed(items, 1, lambda item: changed(item, place, broken)))
    outcomes, alone = run(2, tamper={3: [rule]}, cheaters=(3,), drop=reports)
    error = outcomes[1].error
    assert error is not None
    assert error.peer == 3  # type: ignore[attr-defined]
    assert {(r, j) for r, _, j in alone} == {(round_, 3)}


@pytest.mark.parametrize("bad", [False, True])
def test_nothing_is_computed_for_nothing(monkeypatch: pytest.MonkeyPatch, *, bad: bool) -> None:
    """Neither single checks of what passed together, nor tests of what nobody sent well."""
    sizes: list[int] = []
    monkeypatch.setattr(
        presign_verify, "Compute", lambda jobs, **how: sizes.append(len(jobs)) or Compute(jobs, **how)
    )
    rule = says(1, lambda items: changed(items, 0, lambda item: changed(item, 0, broken)))
    outcomes, alone = run(1, t=2, tamper={2: [rule] if bad else []}, cheaters=(2,), drop=reports)
    assert bool(alone) is (outcomes[1].error is not None) is bad
    assert sizes
    assert 0 not in sizes


def broken(value: Any) -> Any:
    """A ciphertext that is none, or a proof of something else."""
    return 0 if isinstance(value, int) else changed(value, 3, lambda z: (z + 1) % TOY.q)


@SUITES
@pytest.mark.parametrize("batch", [1, 2])
def test_what_only_fails_together_is_accepted(
    suite: Suite, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test of single items decides."""
    monkeypatch.setattr(Batch, "tests", lambda _self, _own=None: [dict, lambda: None])
    outcomes, alone = run(batch, suite, 2)
    outcomes.results()
    assert sorted(alone) == [(r, k, 2) for r in (1, 2) for k in range(batch)]


def test_a_wrong_plaintext_is_found_by_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it came about: it is decrypted again, and nobody is blamed."""
    dec_mod_p = PaillierSecret.dec_mod_p

    def wrong(self: Any, halves: Any, wholes: Any = ()) -> Any:
        plaintexts, rest = dec_mod_p(self, halves, wholes)
        return [m + 1 for m in plaintexts], rest

    monkeypatch.setattr(PaillierSecret, "dec_mod_p", wrong)
    outcomes, alone = run(2, ROOMY, 2)
    outcomes.results()
    assert sorted(alone) == [(2, 0, 2), (2, 1, 2)]


class TestDecryption:
    """Modulo one prime where that says it all."""

    KEY = Signers((1, 2), 2, suite=ROOMY).aux[1].paillier
    CEILING = _ceiling(ROOMY.level, SeededRng(0))

    def test_a_level_with_short_primes_has_no_ceiling(self) -> None:
        for level in (TESTING_TINY, SMALL_SECP.level):
            assert _ceiling(level, SeededRng(0)) is None
        level = ROOMY.level
        least = 2 * level.l + level.eps + HIDING_BITS + WRAP_BITS
        assert _ceiling(replace(level, pb=least), SeededRng(0)) is not None
        assert _ceiling(replace(level, pb=least - 1), SeededRng(0)) is None
        long = replace(level, l_prime=300, pb=300 + 2 + WRAP_BITS)
        assert _ceiling(long, SeededRng(0)) is not None
        assert _ceiling(replace(long, pb=long.pb - 1), SeededRng(0)) is None

    def test_the_ceiling_is_random_above_all_honest_plaintexts_and_below_the_primes(self) -> None:
        for level in (ROOMY.level, LEVEL_128):
            drawn = [_ceiling(level, SeededRng(seed)) for seed in range(200)]
            assert len(set(drawn)) == len(drawn)
            least, spread = 1 << level.l_prime + 1, 1 << level.pb - WRAP_BITS
            assert _ceiling(level, bytes) == least
            assert all(c is not None and least <= c < least + spread for c in drawn)
            assert max(c for c in drawn if c is not None) > least + spread * 9 // 10
            assert least + spread < 1 << level.pb - 100

    def decrypt(self, plaintexts: list[Any], ceiling: Any) -> list[Any]:
        """What is found, in the order of `plaintexts`; the batch's own ciphertext among them."""
        masked = [self.KEY.public.enc(m, 3) for m in plaintexts]
        opened, m = _decrypt(ceiling, self.KEY, masked, self.KEY.public.enc(77, 5))
        assert m == 77
        assert set(opened) == set(masked)
        return [opened[C] for C in masked]

    def test_every_plaintext_is_right(self) -> None:
        assert self.CEILING is not None
        edge, half, p = int(self.CEILING), int(self.KEY.public.half), int(self.KEY.p)
        edges = [
            0,
            1,
            -1,
            edge,
            -edge,
            edge + 1,
            -edge - 1,
            p // 2,
            -(p // 2),
            p // 2 + 1,
            p - edge - 1,
            half,
            -half,
        ]
        assert self.decrypt(edges, self.CEILING) == self.decrypt(edges, None) == edges
        assert self.decrypt([], self.CEILING) == self.decrypt([], None) == []

    @pytest.mark.parametrize("sign", [1, -1])
    def test_up_to_the_ceiling_one_prime_is_enough(self, monkeypatch: pytest.MonkeyPatch, sign: int) -> None:
        assert self.CEILING is not None
        inside, outside = sign * self.CEILING, sign * (self.CEILING + 1)
        asked: list[Any] = []
        dec = PaillierSecret.dec_list
        monkeypatch.setattr(PaillierSecret, "dec_list", lambda self, C: asked.append(C) or dec(self, C))
        assert self.decrypt([inside, outside], self.CEILING) == [inside, outside]
        assert asked == [[self.KEY.public.enc(outside, 3)]]

    def test_what_looks_small_modulo_one_prime_is_wrong_and_the_batch_finds_it(self) -> None:
        """So nobody who knew the primes could pass it off for small."""
        assert self.decrypt([self.KEY.p + 5], self.CEILING) == [5]


def test_plaintexts_beyond_the_ceiling_are_found_by_both_primes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer may draw masks up to 2^(l'+eps). Here all of them are beyond it."""
    monkeypatch.setattr(presign_verify, "_ceiling", lambda *_: mpz(0))
    outcomes, alone = run(2, ROOMY, 2)
    outcomes.results()
    assert alone == []
