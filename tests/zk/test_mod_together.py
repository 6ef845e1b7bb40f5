"""mod with its N-th powers tested together: the verdicts of the plain verifier, and what an error of small order can do."""

from __future__ import annotations

from random import Random

import gmpy2
import pytest
from gmpy2 import mpz
from odd_moduli import prime, separating_unit
from tss_testing import TINY, SeededRng
from zk_cases import CTX, Case, case, forge, keys, prove
from zk_naive import jacobi, unit

from tss.errors import PeerFault, ProofInvalid
from tss.modexp import OwnModulus
from tss.zk import mod

KEY, _, _, _ = keys(TINY)
N, P, Q_ = int(KEY.public.N), int(KEY.p), int(KEY.q_)
M = TINY.level.m
X, A, B, Z = range(4)
# 1 modulo the first prime and -1 modulo the second: only the key's owner knows such a root of 1.
ROOT_OF_1 = int(KEY.own.combine(mpz(1), mpz(Q_ - 1)))


def verdict(one: Case, value: list, rng: object = None) -> str | None:
    """The check that fails, None when none does."""
    try:
        mod.verify(one.suite, one.ctx, one.statement, mod.Proof.from_value(value), rng)
    except ProofInvalid as fault:
        return fault.check
    return None


def with_root(value: list, at: int, place: int, new: int) -> list:
    w, roots = value
    return [
        w,
        [
            [new if (i, k) == (at, place) else item for k, item in enumerate(root)]
            for i, root in enumerate(roots)
        ],
    ]


@pytest.fixture(scope="module")
def one() -> Case:
    return case("mod")


@pytest.fixture(scope="module")
def proven(one: Case) -> list:
    return prove(one)


def test_an_honest_proof_takes_32_bytes(one: Case, proven: list) -> None:
    drawn: list[int] = []
    rng = SeededRng("together")
    assert verdict(one, proven, lambda n: drawn.append(n) or rng(n)) is None
    assert drawn == [32]


def test_nothing_is_drawn_before_the_proof_has_passed_what_is_tested_alone(one: Case, proven: list) -> None:
    """The multipliers must not be known to whoever makes the proof; and a malformed one costs nothing."""

    def rng(_: int) -> bytes:
        raise AssertionError("drawn too early")

    for value in (
        [0, proven[1]],
        with_root(proven, 3, X, 0),
        with_root(proven, 3, A, 2),
        [proven[0], proven[1][1:]],
    ):
        with pytest.raises(PeerFault):
            mod.verify(TINY, CTX, one.statement, mod.Proof.from_value(value), rng)


@pytest.mark.parametrize("place", [X, A, B, Z])
def test_one_bad_item_at_each_position(one: Case, proven: list, place: int) -> None:
    for at in range(M):
        old = proven[1][at][place]
        new = 1 - old if place in (A, B) else 2 * old % N
        value = with_root(proven, at, place, new)
        assert verdict(one, value, SeededRng((place, at))) == verdict(one, value) != None  # noqa: E711 - all three


def test_two_bad_items_are_told_in_the_order_of_the_plain_verifier(one: Case, proven: list) -> None:
    for first, second in ((Z, X), (X, Z)):
        for at, later in ((0, 1), (4, 4), (30, 31)):
            value = with_root(proven, at, first, 2 * proven[1][at][first] % N)
            value = with_root(value, later, second, 2 * value[1][later][second] % N)
            assert verdict(one, value, SeededRng(at)) == verdict(one, value)


def test_together_as_one_by_one() -> None:
    """10^4 lists: as they should be, with an error somewhere, and of the edges 1 and -1."""
    rnd = Random(7)
    nth_root = int(gmpy2.invert(N, KEY.own.phi))
    rng = SeededRng("one by one")
    pool = [unit(rnd, N) for _ in range(50)]
    pairs = [(pow(y, nth_root, N), y) for y in [*pool, 1, N - 1, ROOT_OF_1]]
    for count in range(10_000):
        chosen = [rnd.choice(pairs) for _ in range(count % 4)]
        if chosen and rnd.random() < 0.5:
            at = rnd.randrange(len(chosen))
            z, y = chosen[at]
            chosen[at] = rnd.choice(
                [(3 * z % N, y), (z, 3 * y % N), (y, z), (pool[0] * z % N, pool[1] * y % N)]
            )
        zs, ys = [mpz(z) for z, _ in chosen], [mpz(y) for _, y in chosen]
        single = all(gmpy2.powmod(z, N, N) == y for z, y in chosen)
        assert mod._hold_together(mpz(N), zs, ys, rng) == single, (count, rng)


def test_multipliers_depend_on_the_dice_and_on_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 128 bits takes both values, and whoever knows the dice has to try proofs."""
    asked: list[tuple[int, ...]] = []
    product = mod.power_product
    monkeypatch.setattr(mod, "power_product", lambda b, e, m: asked.append(tuple(e)) or product(b, e, m))
    rng = SeededRng("dice")
    for _ in range(16):
        assert mod._hold_together(mpz(N), [mpz(1)] * M, [mpz(1)] * M, rng)
    drawn = [rho for rhos in asked[::2] for rho in rhos]
    assert asked[::2] == asked[1::2]
    assert len(set(drawn)) == 16 * M
    for bit in range(128):
        assert {rho >> bit & 1 for rho in drawn} == {0, 1}
    assert max(drawn) >> 128 == 0
    asked.clear()
    for zs, ys in (([1, 1], [1, 1]), ([N - 1, 1], [N - 1, 1]), ([1, N - 1], [1, N - 1]), ([1], [1])):
        mod._hold_together(mpz(N), [*map(mpz, zs)], [*map(mpz, ys)], lambda n: b"same" * (n // 4))
    assert len({rhos[0] for rhos in asked}) == 4


class TestErrorsOfSmallOrder:
    """What is multiplied by a root of 1 passes for even multipliers, and says nothing false about N."""

    @pytest.mark.parametrize("error", [N - 1, ROOT_OF_1, N - ROOT_OF_1])
    def test_in_z_of_a_good_modulus(self, one: Case, proven: list, error: int) -> None:
        """y has its N-th root, another than the one that was sent: an owner can only prove what is true, badly."""
        assert pow(error, 2, N) == 1
        value = with_root(proven, 5, Z, proven[1][5][Z] * error % N)
        assert verdict(one, value) == "mod:z^N = y"
        verdicts = [verdict(one, value, SeededRng(("order", seed))) for seed in range(40)]
        assert set(verdicts) == {None, "mod:z^N = y"}

    @pytest.mark.parametrize("error", [N - 1, ROOT_OF_1])
    def test_in_x(self, one: Case, proven: list, error: int) -> None:
        """x is one of four roots, and tested alone: any of them will do for either verifier."""
        value = with_root(proven, 5, X, proven[1][5][X] * error % N)
        assert verdict(one, value) is verdict(one, value, SeededRng("x")) is None

    @pytest.mark.parametrize("sign", [1, -1])
    def test_no_error_makes_a_root_of_what_has_none(self, sign: int) -> None:
        """p^2 q: most y are no N-th powers, whatever z is sent and whatever it is multiplied by."""
        square = case("mod", factors=[(prime(107, 11, 12), 2), (prime(106, 11, 12, 1), 1)])
        w, roots = forge(square, nonce={"w": separating_unit(square)})
        value = [w, [[x, a, b, sign * z % int(square.statement.N)] for x, a, b, z in roots]]
        assert verdict(square, value) == "mod:z^N = y"
        for seed in range(300):
            assert verdict(square, value, SeededRng(("square", seed))) == "mod:z^N = y"

    def test_a_small_factor_is_why_fac_comes_first(self) -> None:
        """r*q with r | q - 1: an r-th of all multipliers hides that most y have no N-th root. fac refuses such an N."""
        r = 7
        q_ = prime(317, 155, 4 * 49)
        assert q_ % 4 == 3
        assert q_ % (r * r) == 8  # so that r divides q_ - 1 once
        small = case("mod", factors=[(r, 1), (q_, 1)])
        modulus = int(small.statement.N)
        w, roots = forge(small)
        assert [z for *_, z in roots] == [1] * M
        # The best that can be done: the root of the part of y that has one.
        ys = small.naive.challenge(TINY, CTX, small.items, {"w": w})
        inverse = pow(modulus, -1, (r - 1) * (q_ - 1) // r)
        lifted = [pow(y, inverse, modulus) for y in ys]
        value = [w, [[x, a, b, z] for (x, a, b, _), z in zip(roots, lifted, strict=True)]]
        assert verdict(small, value) == "mod:z^N = y"
        accepted = sum(verdict(small, value, SeededRng(("r", seed))) is None for seed in range(210))
        assert 10 < accepted < 60


class TestRoots:
    """The responses against their definition (protocol.md 5.6), modulo primes = 3 and = 7 mod 8."""

    MODULI = (
        OwnModulus(P, Q_),
        OwnModulus(prime(160, 3, 8), prime(160, 7, 8)),
        OwnModulus(11, 19),
        OwnModulus(7, 23),
    )

    @pytest.mark.parametrize("own", MODULI, ids=lambda own: f"{own.p % 8}-{own.q_ % 8}-{own.N.bit_length()}")
    def test_they_are_the_roots(self, own: OwnModulus) -> None:
        rnd, modulus = Random(repr(own.N)), int(own.N)
        small = modulus < 1000
        edges = [1, modulus - 1, 2, modulus - 2, int(own.combine(mpz(1), own.q_ - 1))]
        for w in range(1, modulus) if small else [unit(rnd, modulus) for _ in range(20)]:
            if jacobi(w, modulus) != -1:
                continue
            units = (y for y in range(1, modulus) if gmpy2.gcd(y, modulus) == 1)
            ys = [*units] if small else [*edges, w, modulus - w, *(unit(rnd, modulus) for _ in range(200))]
            roots = mod.roots(own, mod.Commitment(mpz(w)), [mpz(y) for y in ys])
            for y, root in zip(ys, roots, strict=True):
                assert pow(root.z, modulus, modulus) == y
                assert pow(root.x, 4, modulus) == (-1) ** root.a * w**root.b * y % modulus
                assert gmpy2.legendre(root.x, own.p) == gmpy2.legendre(root.x, own.q_) == 1
                assert root.a in (0, 1)
                assert root.b in (0, 1)

    def test_shares_of_the_challenges_are_answered_alike(self, one: Case) -> None:
        w, ys = mod.begin(TINY, CTX, one.statement, SeededRng("shares"))
        whole = mod.roots(KEY.own, w, ys)
        assert [root for k in range(3) for root in mod.roots(KEY.own, w, ys[k::3])] == [
            root for k in range(3) for root in whole[k::3]
        ]
        assert mod.roots(KEY.own, w, []) == []
