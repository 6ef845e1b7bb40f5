"""The challenge of every proof, and the agreement of our verifiers with a second one that shares no code with them."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import gmpy2
import pytest
from tss_testing import TESTING_TINY, TINY
from zk_cases import (
    CTX,
    NAMES,
    Case,
    case,
    field_name,
    forge,
    keys,
    leaves,
    naive_failures,
    prove,
    put,
    verify,
)

from tss.errors import PeerFault
from tss.groups import Point
from tss.params import CGGMP24_SECP256K1

every_proof = pytest.mark.parametrize("name", NAMES)


class TestChallenge:
    """Every bit of every challenge varies (A6); the library that inspired the row had 96 of 128 stuck at 0."""

    TRANSCRIPTS = 200

    @pytest.mark.attack("A6")
    @every_proof
    def test_every_challenge_bit_takes_both_values(self, name: str) -> None:
        one = case(name)
        proof = one.module.Proof.from_value(prove(one))
        seen_one, seen_zero = 0, 0
        width = 0
        for number in range(self.TRANSCRIPTS):
            ctx = replace(CTX, sid=number.to_bytes(32, "big"))
            e = one.module.challenge(one.suite, ctx, one.statement, proof.commitment)
            if name == "mod":
                bits = [int(y >> i) & 1 for y in e for i in range(2 * one.suite.level.pb - 1)]
            elif isinstance(e, list):
                bits = e
            else:
                bits = [e >> i & 1 for i in range(one.suite.group.q.bit_length())]
            packed = int("".join(map(str, bits)), 2)
            width = len(bits)
            seen_one |= packed
            seen_zero |= ~packed & ((1 << width) - 1)
        expected = {"mod": 32 * 319, "prm": 32, "dec": 32, "aff-g*": 32}.get(name, 32)
        assert width == expected
        assert seen_one == seen_zero == (1 << width) - 1

    @pytest.mark.attack("A3")
    @pytest.mark.attack("A6")
    @pytest.mark.parametrize("name", ["prm", "dec", "aff-g*"])
    def test_the_full_level_has_128_challenge_bits(self, name: str) -> None:
        one = case(name)
        proof = one.module.Proof.from_value(prove(one))
        ones = [0] * 128
        for number in range(self.TRANSCRIPTS):
            ctx = replace(CTX, sid=number.to_bytes(32, "big"))
            bits = one.module.challenge(CGGMP24_SECP256K1, ctx, one.statement, proof.commitment)
            assert len(bits) == 128
            ones = [count + bit for count, bit in zip(ones, bits, strict=True)]
        # 200 fair coins 128 times: 60..140 is more than five standard deviations.
        assert all(60 <= count <= 140 for count in ones)

    @pytest.mark.attack("A9")
    def test_the_units_of_mod_are_units_below_N(self) -> None:
        """With a factor 3 in N a third of all candidates are no units; none of these becomes a challenge."""
        module = case("mod").module
        N = gmpy2.mpz(3) * gmpy2.next_prime(1 << 318)
        commitment = module.Commitment(gmpy2.mpz(2))
        for number in range(20):
            ctx = replace(CTX, sid=number.to_bytes(32, "big"))
            ys = module.challenge(TINY, ctx, module.Statement(N), commitment)
            assert len(ys) == TESTING_TINY.m
            assert all(0 < y < N and gmpy2.gcd(y, N) == 1 for y in ys)

    @pytest.mark.attack("A1")
    @every_proof
    def test_the_challenge_depends_on_every_first_message(self, name: str) -> None:
        one = case(name)
        value = prove(one)
        proof = one.module.Proof.from_value(value)
        before = one.module.challenge(one.suite, CTX, one.statement, proof.commitment)
        for path, leaf in leaves(value):
            if field_name(one, path) not in one.naive.com_names:
                continue
            other = leaf + (one.suite.group.G if isinstance(leaf, Point) else 1)
            changed = one.module.Proof.from_value(put(value, path, other))
            assert one.module.challenge(one.suite, CTX, one.statement, changed.commitment) != before, path


class TestSecondVerifier:
    """Our verifier and the naive one, which shares no code with it, agree on random accept and reject cases."""

    @every_proof
    @pytest.mark.parametrize("seed", range(3))
    def test_agreement(self, name: str, seed: int) -> None:
        rnd = Random(repr((name, seed, "agreement")))
        one = case(name, seed=seed)
        outcomes = set()
        for round_ in range(12):
            value = forge(one, seed=(seed, round_))
            for _ in range(rnd.choice((0, 1, 1, 1, 2))):
                value = damaged(one, value, rnd)
            failures = naive_failures(one, value)
            first = f"{name}:{failures[0]}" if failures else None
            assert verdict(one, value) == first, (name, seed, round_, failures)
            outcomes.add(first is None)
        assert outcomes == {True, False}


def verdict(one: Case, value: Any) -> str | None:
    """The check that our verifier names, None when it accepts."""
    try:
        verify(one, value)
    except PeerFault as fault:
        return fault.check
    return None


def damaged(one: Case, value: Any, rnd: Random) -> Any:
    """One random item of a proof changed in a random way."""
    path, leaf = rnd.choice(leaves(value))
    if isinstance(leaf, Point):
        G = one.suite.group.G
        return put(
            value, path, rnd.choice((leaf + G, -leaf, one.suite.group.identity, rnd.getrandbits(32) * G))
        )
    key0, key1, ring, _ = keys(one.suite)
    moduli = [one.suite.group.q, key0.public.N, key1.public.N, ring.public.N_hat]
    N = int(rnd.choice(moduli))
    options = [
        0, 1, -1, N, leaf + 1, leaf - 1, -leaf, leaf + N, leaf - N, leaf + N * N, leaf * 2, N - leaf, leaf % N,
        rnd.getrandbits(one.suite.level.max_integer_bits), int(key0.p),
    ]  # fmt: skip
    return put(value, path, rnd.choice(options))
