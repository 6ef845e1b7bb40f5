"""prm (protocol.md 5.7): one malicious proof a check, and each is the only check that it fails."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import gmpy2
import pytest
from tss_testing import TESTING_TINY, TINY
from zk_cases import (
    CTX,
    Case,
    assert_accepted,
    assert_only,
    assert_rejected,
    case,
    forge,
    keys,
    prove,
    ring_of,
    verify,
)
from zk_naive import unit

from tss.errors import PeerFault, ProofInvalid
from tss.params import Suite

_, _, RING, _ = keys(TINY)
N_hat, P, Q_ = int(RING.public.N_hat), int(RING.p), int(RING.q_)
S, T, LAM = int(RING.public.s), int(RING.public.t), int(RING.lam)
PHI = (P - 1) * (Q_ - 1)
EQUATION = "t^z = A*s^e"

FEW = Suite(TINY.proto, TINY.group, replace(TESTING_TINY, m=8))
"""8 repetitions: a cheater who can answer e = 0 alone gets through once in 256 tries."""


@pytest.fixture
def one() -> Case:
    return case("prm")


def with_ring(s: int, t: int, lam: int = LAM, suite: Suite = TINY) -> Case:
    """Parameters of the cheater's choice; it answers as if s were t^lam."""
    honest = case("prm", suite)
    return replace(honest.changed(ring=ring_of(N_hat, s, t)), wit={"lam": lam, "phi": PHI})


@pytest.mark.attack("A3")
@pytest.mark.attack("A7")
@pytest.mark.parametrize("count", [0, 1, 31, 33])
def test_a_list_of_another_length(one: Case, count: int) -> None:
    A, z = forge(one)
    assert_only(one, [A, (z * 2)[:count]], "z length")
    assert_only(one, [(A * 2)[:count], z], "A length")
    assert_rejected(one, [(A * 2)[:count], (z * 2)[:count]], "A length")


@pytest.mark.attack("B4")
class TestParameters:
    @pytest.mark.parametrize("shift", [N_hat, -N_hat])
    def test_s_is_not_reduced(self, shift: int) -> None:
        odd = with_ring(S + shift, T)
        assert_only(odd, forge(odd), "s unit")

    @pytest.mark.parametrize("shift", [N_hat, -N_hat])
    def test_t_is_not_reduced(self, shift: int) -> None:
        odd = with_ring(S, T + shift)
        assert_only(odd, forge(odd), "t unit")

    @pytest.mark.parametrize("value", [0, N_hat, P, 3 * Q_])
    def test_s_or_t_is_no_unit(self, value: int) -> None:
        for odd, check in ((with_ring(value, T), "s unit"), (with_ring(S, value), "t unit")):
            assert_rejected(odd, forge(odd), check)

    def test_s_is_1(self) -> None:
        odd = with_ring(1, T, lam=0)
        assert_only(odd, forge(odd), "s trivial")

    def test_s_is_minus_1(self) -> None:
        """A t that is a square modulo neither prime generates -1 too."""
        rnd = Random("not a square")
        while True:
            t = unit(rnd, N_hat)
            if gmpy2.legendre(t, P) == gmpy2.legendre(t, Q_) == -1:
                break
        lam = (P - 1) * (Q_ - 1) // 4
        assert pow(t, lam, N_hat) == N_hat - 1
        odd = with_ring(N_hat - 1, t, lam=lam)
        assert_only(odd, forge(odd), "s trivial")

    @pytest.mark.parametrize("t", [1, N_hat - 1])
    def test_t_is_1_or_minus_1(self, t: int) -> None:
        """s is then outside <t> too, which 8 repetitions miss once in 256 tries: t alone is wrong in what is sent."""
        assert_rejected(with_ring(S, t), forge(with_ring(S, t)), "t trivial")
        odd = with_ring(S, t, suite=FEW)
        for seed in range(20_000):
            ctx = replace(CTX, sid=seed.to_bytes(32, "big"))
            lucky = replace(odd, ctx=ctx)
            com = [{"A": pow(t, i, N_hat)} for i in range(8)]
            if not any(lucky.naive.challenge(FEW, ctx, lucky.items, com)):
                value = [[one["A"] for one in com], list(range(8))]
                assert_only(lucky, value, "t trivial")
                return
        pytest.fail("no lucky challenge")


@pytest.mark.attack("A2")
@pytest.mark.attack("B8")
class TestDomains:
    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_A_is_no_reduced_unit(self, one: Case, at: int) -> None:
        for shift in (N_hat, -N_hat):
            shifted = forge(one, at=at, com={"A": lambda A, by=shift: A + by})
            assert_only(one, shifted, "A unit")
        for value in (0, N_hat, P, 3 * Q_):
            replaced = forge(one, at=at, com={"A": lambda _, new=value: new})
            assert_rejected(one, replaced, "A unit")

    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_z_is_not_below_the_modulus(self, one: Case, at: int) -> None:
        """The order of t divides phi, so z + k*phi satisfies the equation."""
        assert_only(one, forge(one, at=at, response={"z": lambda z: z + 2 * PHI}), "z range")
        assert_only(one, forge(one, at=at, response={"z": lambda z: z - PHI}), "z range")
        assert_only(
            one, forge(one, at=at, response={"z": lambda z: z + (N_hat - z) // PHI * PHI + PHI}), "z range"
        )

    def test_z_is_the_modulus(self, one: Case) -> None:
        """Where the bit is 0, z = a: N^ has the same power as N^ mod phi."""
        a = N_hat % PHI
        for at in range(TESTING_TINY.m):
            value = forge(one, at=at, nonce={"a": a})
            if value[1][at] == a:
                assert_accepted(one, value)
                assert_only(
                    one, forge(one, at=at, nonce={"a": a}, response={"z": lambda _: N_hat}), "z range"
                )
                return
        pytest.fail("no challenge bit is 0")

    def test_z_may_exceed_phi(self, one: Case) -> None:
        """The verifier knows no phi; z below N^ is what it asks for."""
        order = PHI // 4
        value = forge(one, response={"z": lambda z: z % order + 3 * order})
        assert_accepted(one, value)


class TestEquation:
    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_A_is_another_power(self, one: Case, at: int) -> None:
        assert_only(one, forge(one, at=at, com={"A": lambda A: A * T % N_hat}), EQUATION)

    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_z_is_off_by_one(self, one: Case, at: int) -> None:
        assert_only(one, forge(one, at=at, response={"z": lambda z: z + 1}), EQUATION)

    def test_a_prover_who_knows_no_lambda(self) -> None:
        cheater = with_ring(S, T, lam=LAM + 1)
        assert_only(cheater, forge(cheater), EQUATION)


@pytest.mark.attack("A2")
class TestSmallOrder:
    """s outside <t>: m binary challenges leave nothing to split."""

    def rejected_in_every_transcript(self, cheater: Case) -> None:
        """1000 challenges to the best that the prover can say."""
        naive, st = cheater.naive, cheater.items
        nonces = naive.nonces(TINY, st, Random("nonces"))
        first = naive.commit(TINY, st, cheater.wit, nonces)
        for number in range(1000):
            ctx = replace(CTX, sid=number.to_bytes(32, "big"))
            e = naive.challenge(TINY, ctx, st, first)
            answers = naive.respond(TINY, st, cheater.wit, nonces, first, e)
            with pytest.raises(ProofInvalid) as caught:
                verify(cheater, naive.to_wire(first, answers), ctx=ctx)
            assert caught.value.check == f"prm:{EQUATION}", number

    def test_s_with_a_defect_of_order_2(self) -> None:
        """s = -t^lambda: a single challenge would let half of the statements through."""
        self.rejected_in_every_transcript(with_ring(N_hat - S, T))

    def test_s_is_no_square(self) -> None:
        rnd = Random("no square")
        s = unit(rnd, N_hat)
        while gmpy2.jacobi(s, N_hat) != -1:
            s = unit(rnd, N_hat)
        self.rejected_in_every_transcript(with_ring(s, T))

    def test_guessing_the_bits(self) -> None:
        """For a guessed bit e, A = t^z * s^-e passes; one wrong guess in 32 does not."""
        cheater = with_ring(N_hat - S, T)
        s = N_hat - S
        guess = [0] * 32
        z = list(range(1000, 1032))
        A = [pow(T, z_i, N_hat) * pow(s, -e, N_hat) % N_hat for z_i, e in zip(z, guess, strict=True)]
        with pytest.raises(ProofInvalid):
            verify(cheater, [A, z])


@pytest.mark.attack("A1")
def test_first_messages_in_another_order(one: Case) -> None:
    """The list is hashed item by item: an order of A's made to fit a known challenge changes the challenge."""
    A, z = prove(one)
    with pytest.raises(PeerFault) as caught:
        verify(one, [A[::-1], z[::-1]])
    assert caught.value.check == f"prm:{EQUATION}"


@pytest.mark.attack("A1")
def test_two_first_messages_joined_into_one(one: Case) -> None:
    """The classic ambiguous encoding reads A_1 || A_2 like two items; here lengths are part of what is hashed."""
    A, z = prove(one)
    width = (N_hat.bit_length() + 7) // 8
    joined = [A[0] << 8 * width | A[1], *A[2:]]
    assert_rejected(one, [joined, z], "A length")
    assert_rejected(one, [[*joined, A[0]], z], "A unit")


def test_one_bad_item_at_each_position(one: Case) -> None:
    A, z = forge(one)
    for at in range(TESTING_TINY.m):
        other = [*z[:at], (z[at] + 1) % N_hat, *z[at + 1 :]]
        assert_only(one, [A, other], EQUATION)
        assert_rejected(one, [[*A[:at], 3 * P, *A[at + 1 :]], z], "A unit")
        assert_rejected(one, [[*A[:at], A[at] + N_hat, *A[at + 1 :]], z], "A unit")
