"""What holds for every proof alike: completeness, binding to its place, the wire, the challenge, the second verifier."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import gmpy2
import pytest
from tss_testing import SMALL_SECP, TESTING_TINY, TINY, SeededRng
from zk_cases import (
    CTX,
    NAMES,
    Case,
    assert_accepted,
    case,
    forge,
    keys,
    prove,
    ring_of,
    through_wire,
    verify,
)

from tss.errors import InternalError, PeerFault, ProofInvalid, WrongLength
from tss.groups import Point
from tss.params import CGGMP24_SECP256K1, SecurityLevel, Suite
from tss.randomizers import plain

every_proof = pytest.mark.parametrize("name", NAMES)


class TestCompleteness:
    @every_proof
    @pytest.mark.parametrize("seed", range(8))
    def test_tiny(self, name: str, seed: int) -> None:
        one = case(name, seed=seed)
        assert_accepted(one, prove(one, seed))

    @every_proof
    def test_small_secp256k1(self, name: str) -> None:
        one = case(name, SMALL_SECP)
        verify(one, through_wire(one, prove(one)).to_value())

    @pytest.mark.full_size
    @pytest.mark.parametrize("name", ["sch", "elog", "enc-elg", "aff-g", "fac"])
    def test_full_size(self, name: str) -> None:
        one = case(name, CGGMP24_SECP256K1)
        assert_accepted(one, through_wire(one, prove(one)).to_value())

    @every_proof
    def test_the_naive_prover_convinces_our_verifier(self, name: str) -> None:
        for seed in range(4):
            one = case(name, seed=seed)
            assert_accepted(one, forge(one, seed=seed))

    @pytest.mark.parametrize("name", ["enc-elg", "aff-g", "fac", "dec", "aff-g*"])
    def test_owners_of_moduli_get_the_same_results_by_their_primes(self, name: str) -> None:
        one = case(name)
        key0, key1, ring, _ = keys(TINY)
        owners = {"N0": key0, "N1": key1, "ring": ring}
        if name == "fac":
            del owners["N0"]  # a plain integer there
        owned = one.changed(**{field: key for field, key in owners.items() if hasattr(one.statement, field)})
        assert owned.statement != one.statement
        assert owned.statement.items() == one.statement.items()
        value = prove(one)
        assert prove(owned) == value
        verify(owned, value)
        with pytest.raises(ProofInvalid):
            verify(owned, prove(replace(one, ctx=replace(CTX, label="another"))))


def suites_that_differ() -> list[Any]:
    level = TESTING_TINY
    group = copy.copy(TINY.group)
    group.name = "toy-by-another-name"

    def with_level(**changes: int) -> Suite:
        return Suite(TINY.proto, TINY.group, replace(level, **changes))

    return [
        pytest.param(Suite("another/v1", TINY.group, level), id="PROTO"),
        pytest.param(Suite(TINY.proto, group, level), id="group name"),
        pytest.param(with_level(pb=161), id="pb"),
        pytest.param(with_level(l=33, eps=65, l_prime=164), id="l"),
        pytest.param(with_level(eps=65, l_prime=161), id="eps"),
        pytest.param(with_level(l_prime=161), id="l'"),
    ]


@pytest.mark.attack("A4")
class TestBinding:
    """A proof holds for one prover, verifier, session, rid, label, suite and statement."""

    @every_proof
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("sid", b"t" * 32),
            ("prover", ["holder", 3]),
            ("prover", ["dealer", 1]),
            ("verifier", ["holder", 3]),
            ("verifier", None),
            ("rid", b"q" * 32),
            ("rid", None),
            ("label", "gamma"),
        ],
    )
    def test_replay_in_another_place(self, name: str, field: str, value: Any) -> None:
        one = case(name)
        with pytest.raises(ProofInvalid) as caught:
            verify(one, prove(one), ctx=replace(CTX, **{field: value}))
        assert caught.value.proof == name
        assert caught.value.peer is None

    @every_proof
    @pytest.mark.parametrize("other", suites_that_differ())
    def test_replay_under_another_suite(self, name: str, other: Suite) -> None:
        one = case(name)
        value = prove(one)
        with pytest.raises(ProofInvalid) as caught:
            verify(replace(one, suite=other), value)
        assert caught.value.proof == name

    @every_proof
    def test_replay_under_another_number_of_repetitions(self, name: str) -> None:
        one = case(name)
        other = Suite(TINY.proto, TINY.group, replace(TESTING_TINY, m=40))
        repeats = name in ("mod", "prm", "dec", "aff-g*")
        with pytest.raises(WrongLength if repeats else ProofInvalid):
            verify(replace(one, suite=other), prove(one))

    @every_proof
    def test_another_statement(self, name: str) -> None:
        one = case(name)
        value = prove(one)
        for field, other in other_statements(one):
            with pytest.raises(PeerFault) as caught:
                verify(one, value, statement=replace(one.statement, **{field: other}))
            assert caught.value.check.startswith(f"{name}:"), field

    @every_proof
    def test_the_challenge_is_the_one_of_the_specification(self, name: str) -> None:
        """Seed preimage, name of the proof, order of STMT and COM, and expansion, all written down a second time."""
        one = case(name)
        proof = one.module.Proof.from_value(prove(one))
        com, _ = one.naive.from_wire(proof.to_value())
        ours = one.module.challenge(one.suite, CTX, one.statement, proof.commitment)
        assert ours == one.naive.challenge(one.suite, CTX, one.items, com)


def other_statements(one: Case) -> list[tuple[str, Any]]:
    """Every field of the statement, replaced by another one of its kind."""
    key0, key1, _, other_ring = keys(one.suite)
    changes: list[tuple[str, Any]] = []
    for field in one.statement.__dataclass_fields__:
        value = getattr(one.statement, field)
        if field == "ring":
            N_hat, s, t = value.as_list()
            changes += [
                (field, other_ring.public),
                (field, ring_of(N_hat, t, s)),
                (field, ring_of(N_hat, s * s % N_hat, t)),
                (field, ring_of(N_hat, s, t * t % N_hat)),
                (field, ring_of(N_hat, s, s)),
            ]
        elif isinstance(value, Point):
            changes += [(field, value + one.suite.group.G), (field, -value)]
        elif field in ("N0", "N1"):
            other = key1 if field == "N0" else key0
            changes.append((field, other.public.N if one.name == "fac" else other.public))
        elif field == "N":
            changes.append((field, key1.public.N))
        elif field == "n":
            changes += [(field, 3), (field, 1)]
        else:
            modulus = key1.public.N if field == "Y" else key0.public.N
            changes += [(field, value * (1 + modulus) % modulus**2), (field, value * value % modulus**2)]
    return changes


class TestProver:
    @pytest.mark.parametrize(
        ("name", "wit"),
        [
            ("enc-elg", {"x": 1 << 98}),
            ("aff-g", {"x": 1 << 98}),
            ("aff-g", {"y": 1 << 226}),
            ("aff-g*", {"x": -(1 << 98)}),
            ("aff-g*", {"y": 1 << 226}),
            ("dec", {"x": 1 << 98}),
            ("dec", {"y": 1 << 300}),
            ("fac", {"p": 1 << 300, "q_": 3}),
            ("fac", {"p": 3, "q_": 1 << 300}),
        ],
    )
    def test_a_witness_outside_its_range_is_our_bug_and_ends(self, name: str, wit: dict[str, int]) -> None:
        with pytest.raises(InternalError, match="outside its range"):
            prove(case(name, **wit))

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize(
        ("name", "mask", "secret", "exponent"),
        [
            ("enc-elg", "alpha", "x", 96),
            ("aff-g", "alpha", "x", 96),
            ("aff-g", "beta", "y", 224),
            ("aff-g*", "alpha", "x", 96),
            ("aff-g*", "beta", "y", 224),
            ("dec", "alpha", "x", 96),
            ("dec", "beta", "y", 160 + 64 + 1 + 1 + 64),
        ],
    )
    def test_a_response_outside_its_range_is_drawn_again(
        self, monkeypatch: pytest.MonkeyPatch, name: str, mask: str, secret: str, exponent: int, sign: int
    ) -> None:
        """(P4). For a secret 0 the response is the mask: the range's end is sent, what lies beyond is not."""
        one = case(name, **{secret: 0})
        for mask_value, attempts in ((sign << exponent, 1), (sign * ((1 << exponent) + 1), 2)):
            calls = first_nonce(monkeypatch, one, **{mask: mask_value})
            proof = one.module.prove(one.suite, CTX, one.statement, one.witness, SeededRng(1))
            assert len(calls) == attempts
            monkeypatch.undo()
            if attempts == 2:
                one.module.verify(one.suite, CTX, one.statement, proof)

    @pytest.mark.parametrize(("mask", "sign"), [("alpha", 1), ("alpha", -1), ("beta", 1), ("beta", -1)])
    def test_fac_draws_again_too(self, monkeypatch: pytest.MonkeyPatch, mask: str, sign: int) -> None:
        key = keys(TINY)[0]
        one = case("fac", p=sign * int(key.p), q_=sign * int(key.q_))
        bound = gmpy2.isqrt(key.public.N) << 96
        inside = bound - TINY.group.q * max(key.p, key.q_)
        for mask_value, attempts in ((sign * inside, 1), (sign * bound, 2)):
            calls = first_nonce(monkeypatch, one, **{mask: mask_value})
            one.module.prove(one.suite, CTX, one.statement, one.witness, SeededRng(1))
            assert len(calls) == attempts
            monkeypatch.undo()

    @pytest.mark.attack("B6")
    @pytest.mark.parametrize("name", [name for name in NAMES if name != "mod"])
    def test_masks_come_from_the_ranges_of_the_specification(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Shorter masks would verify just as well and show the secret. Every draw returns the largest of its range."""
        one = case(name)
        draws = {
            "plus_minus": lambda _, bound: bound,
            "randbelow": lambda _, n: n - 1,
            "scalar": lambda _, q: q - 1,
            "unit": lambda _, n: n - 1,
        }
        for function, largest in draws.items():
            for module in (one.module, plain):
                if hasattr(module, function):
                    monkeypatch.setattr(module, function, largest)
        nonce, _ = commit(one)
        nonces = nonce if isinstance(nonce, tuple) else (nonce,)
        assert len(nonces) == (TESTING_TINY.m if name in ("dec", "aff-g*") else 1)
        for drawn in nonces:
            assert {field: getattr(drawn, field) for field in drawn.__dataclass_fields__} == largest_nonces(
                name
            )

    @every_proof
    def test_proofs_draw_fresh_nonces(self, name: str) -> None:
        one = case(name)
        rng = SeededRng("fresh")
        first, second = (
            one.module.prove(one.suite, CTX, one.statement, one.witness, rng).commitment.items() for _ in "12"
        )
        if name in ("prm", "dec", "aff-g*"):
            flat = [str(item) for item in first + second]
            assert len(set(flat)) == len(flat)
        else:
            assert all(a != b for a, b in zip(first, second, strict=True))

    @every_proof
    def test_repr_shows_no_secret(self, name: str) -> None:
        one = case(name)
        secrets = {str(v) for v in one.wit.values() if isinstance(v, int)}
        assert secrets or name == "mod"
        secrets |= {str(p) for p, _ in one.wit.get("factors", [])}
        shown = repr(one.witness) + str(one.witness)
        assert not any(secret in shown for secret in secrets)
        if name != "mod":
            nonce, _ = commit(one)
            assert not any(digit in repr(nonce).replace("Nonce", "") for digit in "0123456789")


def commit(one: Case) -> tuple[Any, Any]:
    """The first step of our prover; what it needs differs a little between the proofs."""
    arguments = {
        "sch": (),
        "elog": (one.statement,),
        "prm": (one.witness,),
        "dec": (one.statement,),
        "aff-g*": (one.statement,),
    }.get(one.name, (one.statement, one.witness))
    result: tuple[Any, Any] = one.module.commit(one.suite, *arguments, SeededRng("commit"))
    return result


def largest_nonces(name: str) -> dict[str, Any]:
    """The upper ends of the ranges that section 5 draws from, written out for l = 32, eps = 64, l' = 160, n = 2."""
    key0, key1, ring, _ = keys(TINY)
    q, N0, N1, N_hat = TINY.group.q, key0.public.N, key1.public.N, ring.public.N_hat
    root = gmpy2.isqrt(N0)
    return {
        "sch": {"alpha": q - 1},
        "elog": {"alpha": q - 1, "m": q - 1},
        "enc-elg": {
            "alpha": 2**96,
            "mu": 2**32 * N_hat,
            "r": N0 - 1,
            "beta": q - 1,
            "gam": 2**96 * N_hat,
        },
        "aff-g": {
            "alpha": 2**96,
            "beta": 2**224,
            "r": N0 - 1,
            "r_y": N1 - 1,
            "gam": 2**96 * N_hat,
            "delta": 2**96 * N_hat,
            "m": 2**32 * N_hat,
            "mu": 2**32 * N_hat,
        },
        "fac": {
            "alpha": 2**96 * root,
            "beta": 2**96 * root,
            "mu": 2**32 * N_hat,
            "nu": 2**32 * N_hat,
            "r": 2**96 * N0 * N_hat,
            "x": 2**96 * N_hat,
            "y": 2**96 * N_hat,
        },
        "prm": {"a": (ring.phi - 1,) * 32},
        "dec": {"alpha": 2**96, "beta": 2**290, "r": N0 - 1},
        "aff-g*": {"alpha": 2**96, "beta": 2**224, "r": N0 - 1, "s": N1 - 1},
    }[name]


def first_nonce(monkeypatch: pytest.MonkeyPatch, one: Case, **fields: Any) -> list[Any]:
    """Make the prover's first nonce another; the list that is returned has an item for every nonce drawn."""
    commit = one.module.commit
    calls: list[Any] = []

    def replacing(*args: Any) -> Any:
        nonce, commitment = commit(*args)
        calls.append(nonce)
        if len(calls) == 1:
            repeated = isinstance(nonce, tuple)
            changed = replace(nonce[0] if repeated else nonce, **fields)
            nonce = (changed, *nonce[1:]) if repeated else changed
        return nonce, commitment

    monkeypatch.setattr(one.module, "commit", replacing)
    return calls


def test_a_level_that_differs_only_in_its_name_is_the_same_level() -> None:
    """The name is not on the wire: [pb, l, l', eps, m] is what the challenge binds."""
    one = case("sch")
    renamed: SecurityLevel = replace(TESTING_TINY, name="other")
    verify(replace(one, suite=Suite(TINY.proto, TINY.group, renamed)), prove(one))
