"""Proofs tested together: what each alone passes, they pass together, and one that fails anywhere makes them fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from tss_testing import TINY, SeededRng
from zk_cases import CTX, Case, case, forge, keys, prove, verify

from tss.errors import InternalError, ProofInvalid
from tss.paillier import PaillierPublic, PaillierSecret
from tss.transcript import hash_commit, stream
from tss.zk.batch import Batch, Own, decrypt_all
from tss.zk.common import Checks
from tss.zk.equations import AT_ONCE

KEY0, KEY1, RING, OTHER_RING = keys(TINY)
N0, N1, N_HAT = int(KEY0.public.N), int(KEY1.public.N), int(RING.public.N_hat)
S, T = int(RING.public.s), int(RING.public.t)
CHECK = Checks("test")
OWNERS = {"N0": KEY0, "N1": KEY1, "ring": RING}

ENC_ELG, AFF_G = "enc-elg", "aff-g"
FORMS: dict[str, dict[str, tuple[str, ...]]] = {
    "nothing is one's own": {ENC_ELG: (), AFF_G: ()},
    "the ring is": {ENC_ELG: ("ring",), AFF_G: ("ring",)},
    "ring and N0 are": {ENC_ELG: ("ring", "N0"), AFF_G: ("ring", "N0")},
}
every_form = pytest.mark.parametrize("form", FORMS)

Claims = dict[Any, Any]


def claiming(known: Claims, claimed: Claims, key: PaillierSecret = KEY0) -> Own:
    """The owner, who takes `claimed` for what decryption has given."""
    return Own(key, known, list(claimed), lambda of, _wanted, C: (claimed, of.dec(C)))


def owned(name: str, seed: object, form: str) -> Case:
    one = case(name, seed=seed)
    return one.changed(**{field: OWNERS[field] for field in FORMS[form][name]})


def together(items: Sequence[tuple[Case, list[Any]]], own: Own | None = None, seed: object = "batch") -> bool:
    """Whether these proofs hold together. Every check that is not between big numbers has to pass."""
    batch = Batch()
    for one, value in items:
        one.module.verify(one.suite, one.ctx, one.statement, one.module.Proof.from_value(value), batch)
    return closed(batch, own, seed)


def closed(batch: Batch, own: Own | None = None, seed: object = "batch") -> bool:
    batch.close(SeededRng(seed))
    held = [test() for test in batch.tests(own)]
    return None not in held


def honest(form: str, count: int = 2) -> list[tuple[Case, list[Any]]]:
    made = []
    for seed in range(count):
        for name in (ENC_ELG, AFF_G):
            one = owned(name, seed, form)
            made.append((one, prove(one, seed)))
    return made


# What breaks one equation between big numbers and nothing else: of which proof, which part, how.
LIES: dict[str, tuple[str, dict[str, Any]]] = {
    "enc-elg: D": (ENC_ELG, {"com": {"D": lambda D: D * (1 + N0) % N0**2}}),
    "enc-elg: z2": (ENC_ELG, {"response": {"z2": lambda z: 2 * z % N0}}),
    "enc-elg: S": (ENC_ELG, {"com": {"S": lambda C: C * S % N_HAT}}),
    "enc-elg: T": (ENC_ELG, {"com": {"T": lambda C: C * T % N_HAT}}),
    "enc-elg: z3": (ENC_ELG, {"response": {"z3": lambda z: z + 1}}),
    "aff-g: A": (AFF_G, {"com": {"A": lambda A: A * (1 + N0) % N0**2}}),
    "aff-g: w": (AFF_G, {"response": {"w": lambda w: 2 * w % N0}}),
    "aff-g: By": (AFF_G, {"com": {"By": lambda B: B * (1 + N1) % N1**2}}),
    "aff-g: w_y": (AFF_G, {"response": {"w_y": lambda w: 2 * w % N1}}),
    "aff-g: z2": (AFF_G, {"response": {"z2": lambda z: z + 1}}),
    "aff-g: E": (AFF_G, {"com": {"E": lambda C: C * S % N_HAT}}),
    "aff-g: S": (AFF_G, {"com": {"S": lambda C: C * S % N_HAT}}),
    "aff-g: F": (AFF_G, {"com": {"F": lambda C: C * S % N_HAT}}),
    "aff-g: T": (AFF_G, {"com": {"T": lambda C: C * S % N_HAT}}),
    "aff-g: z3": (AFF_G, {"response": {"z3": lambda z: z + 1}}),
    "aff-g: z4": (AFF_G, {"response": {"z4": lambda z: z - 1}}),
}


class TestProofs:
    @every_form
    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_honest_ones_hold(self, form: str, count: int) -> None:
        assert together(honest(form, count))
        assert together(honest(form, count)[:1])

    @every_form
    @pytest.mark.parametrize("lie", LIES)
    def test_one_that_fails_at_any_place(self, form: str, lie: str) -> None:
        name, changes = LIES[lie]
        items = honest(form)
        for place, (one, _) in enumerate(items):
            if one.name == name:
                value = forge(one, **changes)
                with pytest.raises(ProofInvalid):
                    verify(one, value)
                assert not together([*items[:place], (one, value), *items[place + 1 :]])

    @every_form
    @pytest.mark.parametrize(("name", "field", "N"), [(ENC_ELG, "C", N0), (AFF_G, "D", N0), (AFF_G, "Y", N1)])
    def test_a_false_statement(self, form: str, name: str, field: str, N: int) -> None:
        one = owned(name, 0, form)
        false = one.changed(**{field: getattr(one.statement, field) * (1 + N) % N**2})
        assert not together([*honest(form), (false, forge(false))])

    def test_errors_that_cancel_each_other_without_multipliers(self) -> None:
        first, second = (case(ENC_ELG, seed=seed) for seed in (0, 1))
        up = forge(first, com={"D": lambda D: D * (1 + N0) % N0**2})
        down = forge(second, com={"D": lambda D: D * pow(1 + N0, -1, N0**2) % N0**2})
        assert not together([(first, up), (second, down)])
        up = forge(first, response={"z3": lambda z: z + 1})
        down = forge(second, response={"z3": lambda z: z - 1})
        assert not together([(first, up), (second, down)])

    @every_form
    def test_a_proof_for_another_place(self, form: str) -> None:
        one = owned(AFF_G, 0, form)
        moved = replace(one, ctx=replace(CTX, label="another"))
        with pytest.raises(ProofInvalid):
            # What stands on the curve is never tested together with anything.
            together([(moved, prove(one))])

    def test_several_keys_and_rings_in_one_batch(self) -> None:
        other = case(ENC_ELG).changed(ring=OTHER_RING)
        items = [*honest("nothing is one's own"), *honest("ring and N0 are"), (other, prove(other))]
        assert together(items)
        assert not together(
            [*items, (other, forge(other, com={"T": lambda C: C * 4 % OTHER_RING.public.N_hat}))]
        )


class TestRandomEquations:
    """The plain test and the one of many agree on any equations."""

    @pytest.mark.parametrize("seed", range(10))
    def test_agreement(self, seed: int) -> None:
        rnd = Random(seed)
        for _ in range(250):
            batch, expected = Batch(), True
            for _ in range(4):
                expected &= self.equation(rnd, batch)
            assert closed(batch, seed=rnd.random()) is expected, f"seed {seed}"

    def equation(self, rnd: Random, batch: Batch) -> bool:
        """A random equation, in one case of eight a false one: whether it holds."""
        error = rnd.choice([0] * 7 + [rnd.randrange(1, 2**64)])
        exponents = [
            rnd.choice((0, 1, -1, rnd.getrandbits(32), -rnd.getrandbits(96))) for _ in range(rnd.randrange(4))
        ]
        if rnd.random() < 0.5:
            ring = rnd.choice((RING, RING.public))
            openings = [(rnd.getrandbits(90) - 2**89, rnd.getrandbits(400)) for _ in exponents]
            bases = [ring.commit_public(*opening) for opening in openings]
            a, b = (
                sum(x * opening[i] for x, opening in zip(exponents, openings, strict=True)) for i in (0, 1)
            )
            equation: Any = (ring, a + error, b, list(zip(bases, exponents, strict=True)))
            send = "ring"
        else:
            key = rnd.choice((KEY0, KEY0.public, KEY1.public))
            N = key.N if isinstance(key, PaillierPublic) else key.public.N
            contents = [(rnd.getrandbits(300) - 2**299, rnd.randrange(2, 2**200)) for _ in exponents]
            bases = [key.enc(*content) for content in contents]
            m, r = error, 1
            for x, content in zip(exponents, contents, strict=True):
                m, r = m + x * content[0], r * pow(content[1], x, int(N)) % int(N)
            equation, send = (key, m, r, list(zip(bases, exponents, strict=True))), "paillier"
        getattr(batch, send)(CHECK, "equation", *equation)
        try:
            getattr(AT_ONCE, send)(CHECK, "equation", *equation)
        except ProofInvalid:
            assert error
            return False
        assert not error
        return True


class TestSmallOrder:
    """-1 times what would be right, and other roots of 1."""

    @pytest.mark.parametrize("field", ["S", "T"])
    def test_in_the_ring_its_owner_sees_every_one(self, field: str) -> None:
        p, q_ = int(RING.p), int(RING.q_)
        root = (1 - 2 * pow(p, -1, q_) * p) % N_HAT
        assert pow(root, 2, N_HAT) == 1
        for unit in (N_HAT - 1, root, N_HAT - root):
            for seed in range(8):
                one = owned(ENC_ELG, seed, "the ring is")
                value = forge(one, com={field: lambda C, by=unit: C * by % N_HAT}, seed=seed)
                try:
                    verify(one, value)
                except ProofInvalid:
                    assert not together([*honest("the ring is"), (one, value)], seed=seed)
                else:
                    # An even challenge: nobody can tell -S from S.
                    assert field == "S"
                    assert together([*honest("the ring is"), (one, value)], seed=seed)

    def test_without_the_primes_minus_one_may_pass(self) -> None:
        one = case(ENC_ELG)
        value = forge(one, com={"T": lambda C: N_HAT - C})
        assert {together([(one, value)], seed=seed) for seed in range(16)} == {True, False}

    @pytest.mark.parametrize("form", ["the ring is", "ring and N0 are"])
    def test_under_a_paillier_modulus_it_may_pass_and_no_plaintext_depends_on_it(self, form: str) -> None:
        """-1 is an N-th power: another nonce explains it, which the prover could have used."""
        for name, field, N in ((ENC_ELG, "D", N0), (AFF_G, "A", N0), (AFF_G, "By", N1)):
            one = owned(name, 0, form)
            value = forge(one, com={field: lambda C, by=N: by * by - C})
            with pytest.raises(ProofInvalid):
                verify(one, value)
            assert {together([(one, value)], seed=seed) for seed in range(16)} == {True, False}
            opened = forge(one, com={field: lambda C, by=N: (by * by - C) * (1 + by) % by**2})
            assert not any(together([(one, opened)], seed=seed) for seed in range(16))


class TestPlaintexts:
    """Ciphertexts under one's own key, of which one knows, or believes to know, the plaintext."""

    def opened(self, seed: int = 0) -> tuple[Case, list[Any], Claims, Claims]:
        one = owned(AFF_G, seed, "ring and N0 are")
        C, D = one.statement.C, one.statement.D
        return one, prove(one, seed), {C: KEY0.dec(C)}, {D: KEY0.dec(D)}

    @pytest.mark.parametrize("knows", [True, False])
    @pytest.mark.parametrize("claims", [True, False])
    def test_true_ones_hold(self, *, knows: bool, claims: bool) -> None:
        items, known, claimed = [], {}, {}
        for seed in range(3):
            one, value, C, D = self.opened(seed)
            items.append((one, value))
            known |= C if knows else {}
            claimed |= D if claims else {}
        assert together(items, claiming(known, claimed))
        assert together(items, claiming({}, known | claimed))

    @pytest.mark.parametrize("place", range(3))
    @pytest.mark.parametrize("by", [1, -1, int(KEY0.p), int(KEY0.q_), -(2**200)])
    def test_a_false_claim(self, by: int, place: int) -> None:
        """Also one that is right modulo one of the primes."""
        items, known, claimed = [], {}, {}
        for seed in range(3):
            one, value, C, D = self.opened(seed)
            items.append((one, value))
            known, claimed = known | C, claimed | D
        false = {C: d + (by if n == place else 0) for n, (C, d) in enumerate(claimed.items())}
        assert not together(items, claiming(known, false))
        congruent = {C: d + (N0 if n == place else 0) for n, (C, d) in enumerate(claimed.items())}
        assert together(items, claiming(known, congruent))

    def test_a_claim_that_makes_up_for_a_false_proof(self) -> None:
        one, value, known, claimed = self.opened()
        false = one.changed(D=one.statement.D * (1 + N0) % N0**2)
        proof = forge(false)
        ((_, d),) = claimed.items()
        for claim in (d, d + 1):
            assert not together([(false, proof)], claiming(known, {false.statement.D: claim}))
        assert together([(one, value)], claiming(known, claimed))

    def test_a_claim_about_what_no_equation_names(self) -> None:
        C = KEY0.enc(77, 5)
        for batch in (Batch, lambda: self.gathered(honest("ring and N0 are"))):
            assert closed(batch(), claiming({}, {C: 77}))
            assert not closed(batch(), claiming({}, {C: 78}))

    def gathered(self, items: Sequence[tuple[Case, list[Any]]]) -> Batch:
        batch = Batch()
        for one, value in items:
            one.module.verify(one.suite, one.ctx, one.statement, one.module.Proof.from_value(value), batch)
        return batch

    def test_what_is_both_known_and_claimed_is_tested(self) -> None:
        one, value, known, claimed = self.opened()
        ((C, k),) = known.items()
        assert together([(one, value)], claiming(known, {**claimed, C: k}))
        assert not together([(one, value)], claiming(known, {**claimed, C: k + 1}))

    def test_what_is_wrongly_known_fails(self) -> None:
        one, value, known, _ = self.opened()
        assert not together([(one, value)], Own(KEY0, {C: k + 1 for C, k in known.items()}))

    def test_what_is_known_under_another_key_is_not_used(self) -> None:
        one, value, known, _ = self.opened()
        assert together([(one, value)], Own(KEY1, {C: k + 1 for C, k in known.items()}))

    def test_they_are_not_shown(self) -> None:
        assert "4711" not in repr(Own(KEY0, {KEY0.enc(4711, 2): 4711}))

    def test_what_is_wanted_is_decrypted(self) -> None:
        one, value, known, claimed = self.opened()
        C, wanted = KEY0.enc(-77, 5), list(claimed)
        batch = self.gathered([(one, value)])
        batch.close(SeededRng(0))
        found = [test() for test in batch.tests(Own(KEY0, known, [*wanted, C, *wanted]))]
        assert sorted(found, key=len) == [{}, {}, {**claimed, C: -77}]  # type: ignore[arg-type]
        assert decrypt_all(KEY0, [], C) == ({}, -77)


class TestMultipliers:
    def test_they_are_drawn_when_all_proofs_are_in(self) -> None:
        drawn: list[int] = []

        def rng(n: int) -> bytes:
            drawn.append(n)
            return SeededRng(0)(n)

        batch = Batch()
        for one, value in honest("nothing is one's own"):
            one.module.verify(one.suite, one.ctx, one.statement, one.module.Proof.from_value(value), batch)
            with pytest.raises(InternalError):
                batch.tests()
        assert not drawn
        batch.close(rng)
        assert drawn == [32]
        for late in (batch.paillier, batch.ring):
            with pytest.raises(InternalError):
                late(CHECK, "late", KEY0.public if late == batch.paillier else RING, 1, 1, [])  # type: ignore[operator]
        with pytest.raises(InternalError):
            batch.close(rng)

    def test_they_depend_on_the_randomness_and_on_everything_gathered(self) -> None:
        def seed_of(rng: object = 0, **other: Any) -> Any:
            of = {
                "key": KEY0.public,
                "m": 5,
                "r": 7,
                "C": 9,
                "x": 11,
                "ring": RING,
                "a": 13,
                "b": 15,
                "S": 17,
                "y": 19,
            }
            of |= other
            batch = Batch()
            batch.paillier(CHECK, "one", of["key"], of["m"], of["r"], [(of["C"], of["x"])])
            batch.ring(CHECK, "two", of["ring"], of["a"], of["b"], [(of["S"], of["y"])])
            batch.close(SeededRng(rng))
            return batch._seed

        seeds = [seed_of(), seed_of(1), seed_of(key=KEY1.public), seed_of(ring=OTHER_RING)]
        seeds += [seed_of(**{name: 2}) for name in ("m", "r", "C", "x", "a", "b", "S", "y")]
        assert len(set(seeds)) == len(seeds)
        gathered = [[KEY0.public.N, [5, 7, 9, 11]], [*RING.public.as_list(), [13, 15, 17, 19]]]
        drawn = SeededRng(0)(32)
        assert seeds[0] == hash_commit("wallet-mpc/v1", "batch-multipliers", drawn, *gathered)

    def test_each_test_has_its_own(self) -> None:
        drawn = [stream(b"seed", n)(32) for n in range(4)]
        assert len({block[at : at + 16] for block in drawn for at in (0, 16)}) == 8

    def test_nothing_gathered_holds(self) -> None:
        assert closed(Batch())
