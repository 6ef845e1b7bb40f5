"""What a signer makes: hedged dice, pools, tables, and a share that meets none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cggmp24_testing import Signers
from tss_testing import TINY, SeededRng
from zk_cases import CTX, case, keys, verify

from tss.cggmp24 import presign, presign_prove
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item, fill_for, needs
from tss.modexp import FixedBase
from tss.params import LEVEL_128
from tss.randomizers import PLAIN, Pool, Randomizers, shelf
from tss.zk import aff_g

LEVEL = TINY.level


def full_pool(signers: Signers, j: int, presignatures: int) -> Pool:
    pool = Pool(LEVEL)
    fill_for(pool, signers.aux[j], len(signers.S), presignatures)
    rng = SeededRng(("pool", j))
    while pool.step(rng):
        pass
    return pool


def program(signers: Signers, j: int, randomizers: Randomizers, batch: int) -> Callable[[Any], Any]:
    return partial(
        presign.presign, share=signers.shares[j], aux=signers.aux[j], owner=signers.owner, batch=batch,
        randomizers=randomizers,
    )  # fmt: skip


class TestPools:
    @pytest.mark.parametrize(("S", "batch"), [((1, 2), 2), ((1, 2, 3), 1)])
    def test_what_is_wanted_is_what_a_session_takes(self, S: tuple[int, ...], batch: int) -> None:
        """Everybody else verifies with the plain verifier, and the outputs fit together."""
        signers = Signers(S, len(S))
        pool = full_pool(signers, 1, batch)
        whole = len(pool)
        one = needs(LEVEL, len(S), batch)
        assert whole == one.own + (len(S) - 1) * (one.nonces + sum(count for _, count in one.masks))
        outcomes = signers.presign(programs={1: program(signers, 1, pool, batch)}, cheaters=(), batch=batch)
        assert len(outcomes.results()) == len(S)
        assert len(pool) == 0

    def test_an_empty_pool_makes_the_rest_on_the_spot(self) -> None:
        signers = Signers((1, 2), 2)
        pools = {j: full_pool(signers, j, 1) for j in (1, 2)}
        made = signers.presign(programs={j: program(signers, j, pools[j], 3) for j in (1, 2)}, batch=3)
        assert len(made.results()[1]) == 3

    def test_the_needs_of_two_signers_at_the_full_level(self) -> None:
        one = needs(LEVEL_128, 2, 16)
        assert (one.own, one.nonces) == (128, 64)
        assert one.masks == [(1 << 256, 96), (1 << 768, 96)]
        assert max(one.own, one.nonces, *(count for _, count in one.masks)) <= shelf.SHARED_DRAWS


class Watching(Presigning):
    """Keeps what it drew."""

    seen: list[Any]

    def draw(self, k_: int) -> Item:
        item = super().draw(k_)
        self.seen += [item.k, item.gamma, item.a, item.b, item.rho, item.nu, item.Y.to_bytes()]
        return item

    def powers(self, item: Item, j: Any) -> Any:
        made = super().powers(item, j)
        self.seen += [made.ahead.alpha, made.ahead_hat.alpha]
        return made

    def half_mask(self, item: Item, j: Any, label: str) -> Any:
        half = super().half_mask(item, j, label)
        # The first messages of the affine proof hide alpha, beta, r, r_y, gam, del, m and mu.
        self.seen += [half.y, half.s, half.r, *(str(value) for value in half.psi[:7])]
        return half


def drawn(seed: object, randomizers: Randomizers = PLAIN) -> list[Any]:
    """What party 1, whose source always gives the same, draws in one session."""
    signers, seen = Signers((1, 2), 2), []

    def watched(ctx: Any) -> Any:
        stuck = replace(ctx, rng=bytes)
        run = Watching(stuck, signers.shares[1], signers.aux[1], signers.owner, randomizers)
        run.seen = seen
        return presign._rounds(run, 1, None)

    signers.presign(seed=seed, programs={1: watched})
    return seen


@pytest.mark.attack("E1")
@pytest.mark.attack("D3")
@pytest.mark.parametrize("pooled", [False, True], ids=["plain", "pool"])
def test_with_a_source_that_repeats_itself_two_sessions_share_no_secret(pooled: bool) -> None:  # noqa: FBT001 - a parameter
    """As on a machine that was cloned with its pool: the same entries, the same bytes of the system."""
    signers = Signers((1, 2), 2)
    one, other = (drawn(seed, full_pool(signers, 1, 1) if pooled else PLAIN) for seed in ("one", "other"))
    assert len(one) == len(other) == 7 + 2 + 2 * 10
    assert not set(one) & set(other)


@pytest.mark.attack("E2")
def test_a_share_meets_neither_table_nor_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    exponents: set[int] = set()
    power, chain = FixedBase.power, presign_prove.powers_of

    def seen_power(self: FixedBase, exponent: int) -> Any:
        exponents.add(abs(int(exponent)))
        return power(self, exponent)

    def seen_chain(base: int, many: list[int], modulus: int) -> Any:
        exponents.update(abs(int(exponent)) for exponent in many)
        return chain(base, many, modulus)

    monkeypatch.setattr(FixedBase, "power", seen_power)
    monkeypatch.setattr(presign_prove, "powers_of", seen_chain)
    signers = Signers((1, 2), 2)
    runs: list[Presigning] = []
    gammas: list[int] = []

    def started(j: int, ctx: Any) -> Any:
        run = Presigning(ctx, signers.shares[j], signers.aux[j], signers.owner, full_pool(signers, j, 1))
        runs.append(run)
        draw = run.draw

        def kept(k_: int) -> Item:
            item = draw(k_)
            gammas.append(item.gamma)
            return item

        run.draw = kept  # type: ignore[method-assign]
        return presign._rounds(run, 1, None)

    signers.presign(programs={j: partial(started, j) for j in (1, 2)})
    assert set(gammas) <= exponents, "what is ephemeral does"
    for run in runs:
        for secret in (run.x, run.share.x):
            assert not {secret, run.group.q - secret} & exponents


class TestProofs:
    """What is made ahead changes nothing of a proof."""

    def test_alpha_and_the_power_of_s_may_be_made_before(self) -> None:
        for seed in range(8):
            one = case("aff-g", seed=seed)
            rng = SeededRng(("ahead", seed))
            alpha = aff_g.draw_alpha(TINY, rng)
            N0 = keys(TINY)[0].public
            ahead = aff_g.Ahead(alpha, N0.otimes(alpha, one.statement.C))
            s_x = PLAIN.power_of_s(one.statement.ring, one.witness.x)
            witness = replace(one.witness, s_x=s_x)
            proof = aff_g.prove(TINY, CTX, one.statement, witness, rng, PLAIN, ahead)
            assert proof == aff_g.prove(TINY, CTX, one.statement, one.witness, SeededRng(("ahead", seed)))
            verify(one, proof.to_value())

    def test_a_second_attempt_draws_another_alpha(self) -> None:
        one = case("aff-g")
        ahead = aff_g.Ahead(aff_g.z1_bound(TINY) + 1, one.statement.C)
        proof = aff_g.prove(TINY, CTX, one.statement, one.witness, SeededRng(1), PLAIN, ahead)
        verify(one, proof.to_value())

    @pytest.mark.parametrize("name", ["enc-elg", "aff-g"])
    def test_proofs_with_a_pool_convince_the_plain_verifier(self, name: str) -> None:
        one = case(name)
        pool = Pool(LEVEL)
        key0, key1, ring, _ = keys(TINY)
        pool.want(key1, [(key0.public, ring.public)], needs(LEVEL, 2, 2))
        rng = SeededRng("filled")
        while pool.step(rng):
            pass
        owned = one.changed(N1=key1) if name == "aff-g" else one
        for _ in range(6):
            proof = one.module.prove(TINY, CTX, owned.statement, one.witness, rng, pool)
            verify(one, proof.to_value())
