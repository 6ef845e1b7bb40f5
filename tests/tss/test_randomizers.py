"""Nonces and masks on the spot, from tables and from pools: the plain ones are the oracle."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from math import gcd
from typing import Any

import pytest
from tss_testing import TESTING_TINY, SeededRng, paillier_key, pedersen_key

from tss.errors import OutOfDomain
from tss.hedge import hedged
from tss.paillier import PaillierPublic
from tss.params import LEVEL_128
from tss.rand import Rng
from tss.randomizers import PLAIN, MaskPair, Needs, NoncePair, Pool, encrypt, lasting_power_of_s
from tss.randomizers.pool import PEERS
from tss.randomizers.shelf import Shelf
from tss.randomizers.subsets import ELEMENTS, SHARED_DRAWS, SubsetTable
from tss.randomizers.tables import LONG_BASES, MaskProducts, NonceProducts, NonceTable, RingTable
from tss.ring_pedersen import RingPedersen
from tss.zk.common import pow2

OWN = paillier_key(TESTING_TINY, 0)
PEER = paillier_key(TESTING_TINY, 1).public
RING = pedersen_key(TESTING_TINY, 1)
NARROW, WIDE = (
    pow2(bits) * RING.public.N_hat for bits in (TESTING_TINY.l, TESTING_TINY.l + TESTING_TINY.eps)
)
NEEDS = Needs(
    own=3, nonces=4, masks=[(pow2(TESTING_TINY.l), 5), (pow2(TESTING_TINY.l + TESTING_TINY.eps), 6)]
)


def assert_nonce(pair: NoncePair, N: int) -> None:
    assert 0 < pair.value < N
    assert gcd(int(pair.value), int(N)) == 1
    assert pair.power == pow(int(pair.value), int(N), int(N) ** 2)


def assert_mask(pair: MaskPair, ring: RingPedersen = RING.public) -> None:
    assert pair.power == pow(int(ring.t), int(pair.value), int(ring.N_hat))


def filled(needs: Needs = NEEDS, seed: object = 0) -> Pool:
    pool = Pool(TESTING_TINY)
    pool.want(OWN, [(PEER, RING.public)], needs)
    rng = SeededRng(("filled", seed))
    while pool.step(rng):
        pass
    return pool


class TestPlain:
    def test_owner_and_peer_make_the_same_nonce(self) -> None:
        one, other = PLAIN.nonce(OWN, SeededRng(1)), PLAIN.nonce(OWN.public, SeededRng(1))
        assert one == other
        assert_nonce(one, OWN.public.N)

    @pytest.mark.parametrize("bound", [0, 1, NARROW, WIDE])
    def test_owner_and_peer_make_the_same_mask(self, bound: int) -> None:
        for seed in range(20):
            one = PLAIN.mask(RING, bound, SeededRng(seed))
            assert one == PLAIN.mask(RING.public, bound, SeededRng(seed))
            assert -bound <= one.value <= bound
            assert_mask(one)

    @pytest.mark.parametrize("x", [0, 1, -1, 12345, -(1 << 200), 1 << 224])
    def test_powers_of_s(self, x: int) -> None:
        expected = pow(int(RING.public.s), x, int(RING.public.N_hat))
        for ring in (RING, RING.public):
            assert PLAIN.power_of_s(ring, x) == lasting_power_of_s(ring, x) == expected

    @pytest.mark.parametrize("m", [0, 1, -1, 1 << 500])
    def test_an_encryption_is_the_keys(self, m: int) -> None:
        pair = PLAIN.nonce(OWN, SeededRng(2))
        assert encrypt(OWN, m, pair) == encrypt(OWN.public, m, pair) == OWN.public.enc(m, pair.value)


class Sums:
    """Pairs that are numbers, and their product the sum."""

    def __init__(self, window: int = 5) -> None:
        self.window = window

    def enter(self, pair: int) -> list[int]:
        return [pair]

    def multiply(self, one: list[int], other: list[int]) -> list[int]:
        return [one[0] + other[0]]

    def leave(self, element: list[int]) -> int:
        return element[0]


class TestSubsets:
    @pytest.mark.parametrize("window", [NonceProducts.window, MaskProducts.window, 1])
    def test_every_subset_is_made_of_its_elements(self, window: int) -> None:
        """Elements are the powers of 2: the product is the number that was drawn."""
        assert (ELEMENTS % 8, ELEMENTS % window) == (0, 0)
        table = SubsetTable([1 << place for place in range(ELEMENTS)], Sums(window))
        rng = SeededRng("subsets")
        for draw in [
            bytes(35),
            b"\xff" * 35,
            *(bytes([1 << bit]) + bytes(34) for bit in range(8)),
            *(rng(35) for _ in range(500)),
        ]:
            assert table.multiply(0, lambda n, draw=draw: draw[:n]) == int.from_bytes(draw, "big")

    def test_products_of_pairs_are_pairs(self) -> None:
        rng = SeededRng("products")
        nonces, masks = NonceProducts(PEER.N), MaskProducts(RING.public.N_hat)
        for _ in range(20):
            one, other = PLAIN.nonce(PEER, rng), PLAIN.nonce(PEER, rng)
            made = nonces.leave(nonces.multiply(nonces.enter(one), nonces.enter(other)))
            assert made == NoncePair(one.value * other.value % PEER.N, one.power * other.power % PEER.N2)
            assert nonces.leave(nonces.enter(one)) == one
            this, that = PLAIN.mask(RING, WIDE, rng), PLAIN.mask(RING, WIDE, rng)
            mask = masks.leave(masks.multiply(masks.enter(this), masks.enter(that)))
            assert mask.value == this.value + that.value
            assert_mask(mask)

    def test_repr_shows_nothing(self) -> None:
        assert repr(SubsetTable([12345] * ELEMENTS, Sums())) == "SubsetTable()"

    def test_what_two_copies_share_leaves_room(self) -> None:
        """docs/randomizers.md: draws of two copies are independent but with 2^-(ELEMENTS - SHARED_DRAWS)."""
        assert ELEMENTS - SHARED_DRAWS >= 152


def nonce_table(N: int, seed: object) -> NonceTable:
    key, rng = PaillierPublic(N), SeededRng(("table", seed))
    elements = [PLAIN.nonce(key, rng) for _ in range(ELEMENTS + LONG_BASES)]
    return NonceTable(key.N, elements[ELEMENTS:], SubsetTable(elements[:ELEMENTS], NonceProducts(key.N)))


class TestNonceTable:
    def test_its_nonces_are_nonces(self) -> None:
        table, rng = nonce_table(PEER.N, 0), SeededRng("draws")
        pairs = [table.draw(rng) for _ in range(300)]
        for pair in pairs:
            assert_nonce(pair, PEER.N)
        assert len({pair.value for pair in pairs}) == 300

    @pytest.mark.parametrize("N", [7 * 11, 7 * 13, 9 * 5, 31 * 3])
    def test_they_reach_all_of_the_group_evenly(self, N: int) -> None:
        """Also where most elements lie in a proper subgroup. Chi-squared, far out."""
        table, rng = nonce_table(N, N), SeededRng(("uniform", N))
        units = [a for a in range(N) if gcd(a, N) == 1]
        draws = 40 * len(units)
        seen = Counter(int(table.draw(rng).value) for _ in range(draws))
        assert set(seen) == set(units)
        statistic = sum((seen[a] - 40) ** 2 / 40 for a in units)
        freedom = len(units) - 1
        assert abs(statistic - freedom) < 6 * (2 * freedom) ** 0.5, f"{statistic} of {freedom}"

    def test_the_long_exponents_are_together_as_long_as_the_modulus(self) -> None:
        assert LONG_BASES * nonce_table(PEER.N, 0)._bits >= PEER.N.bit_length()

    def test_repr_shows_nothing(self) -> None:
        assert repr(nonce_table(77, 0)) == "NonceTable()"


def showing(value: int, below: int) -> Rng:
    """Dice with which `randbelow(rng, below)` gives `value`."""
    bits = (below - 1).bit_length()
    return lambda n: (value << 8 * n - bits).to_bytes(n, "big")


class TestRingTable:
    def test_powers_and_masks_are_the_plain_ones(self) -> None:
        table = RingTable(RING.public, TESTING_TINY)
        end, rng = 1 << TESTING_TINY.l_prime + TESTING_TINY.eps, SeededRng("ring")
        lengths = TESTING_TINY.l, TESTING_TINY.l + TESTING_TINY.eps, TESTING_TINY.l_prime
        edges = [sign * (1 << bits) + by for bits in lengths for by in (-1, 0, 1) for sign in (1, -1)]
        for x in [0, 1, -1, end, -end, *edges, *(int.from_bytes(rng(24), "big") for _ in range(50))]:
            assert table.power_of_s(x) == PLAIN.power_of_s(RING.public, x)
        with pytest.raises(OutOfDomain):
            table.power_of_s(2 * end + 2)
        for bound in (1, NARROW, WIDE):
            for seed in range(50):
                assert table.mask(bound, SeededRng(seed)) == PLAIN.mask(RING.public, bound, SeededRng(seed))

    @pytest.mark.parametrize("end", [WIDE, -WIDE])
    def test_the_largest_mask_fits(self, end: int) -> None:
        pair = RingTable(RING.public, TESTING_TINY).mask(WIDE, showing(int(end + WIDE), int(2 * WIDE + 1)))
        assert pair.value == end
        assert_mask(pair)

    def test_repr_shows_nothing(self) -> None:
        assert repr(RingTable(RING.public, TESTING_TINY)) == "RingTable()"


def numbers(target: int, made: Iterator[int] | None = None) -> Shelf[int]:
    """A shelf of sums: elements are 0, pairs are counted from 1000."""
    supply = count(1000) if made is None else made
    shelf: Shelf[int] = Shelf(Sums(), lambda _: 0, lambda *_: lambda _: next(supply))
    shelf.target = target
    return shelf


def fill(shelf: Shelf[Any], rng: Rng = bytes) -> Shelf[Any]:
    while shelf.step(rng):
        pass
    return shelf


class TestShelf:
    def test_nothing_is_kept_before_the_table_is_there(self) -> None:
        shelf = numbers(5)
        for _ in range(ELEMENTS):
            assert shelf.give(bytes) is None
            assert not shelf.complete
            assert shelf.step(bytes)
        assert len(shelf) == 0
        assert not shelf.complete
        assert shelf.step(bytes), "the table"
        assert shelf.complete
        assert len(shelf) == 0
        fill(shelf)
        assert len(shelf) == 5

    def test_pairs_are_given_once_the_oldest_first_and_then_made(self) -> None:
        shelf = fill(numbers(3))
        assert [shelf.give(bytes) for _ in range(5)] == [1000, 1001, 1002, 1003, 1004]
        assert len(shelf) == 0

    @pytest.mark.parametrize("target", [0, 1, SHARED_DRAWS, SHARED_DRAWS + 1, 10 * SHARED_DRAWS])
    def test_no_more_are_kept_than_wanted_nor_than_two_copies_may_share(self, target: int) -> None:
        assert len(fill(numbers(target))) == min(target, SHARED_DRAWS)

    def test_a_pair_that_was_kept_is_another_when_it_is_given(self) -> None:
        """A copy of the shelf with other dice gives another; what is made on the spot needs no change."""
        elements = count(1)
        shelf: Shelf[int] = Shelf(Sums(), lambda _: 1 << next(elements) * 16, lambda *_: lambda _: 7)
        shelf.target = 2
        fill(shelf)
        one, other = (
            shelf.give(lambda n: bytes(n - 1) + b"\x01"),
            shelf.give(lambda n: bytes(n - 1) + b"\x02"),
        )
        assert (one, other) == (7 + (1 << 16), 7 + (1 << 32))
        assert shelf.give(lambda n: b"\xff" * n) == 7

    def test_dropped_pairs_are_gone_also_one_that_is_being_made(self) -> None:
        drops: list[Shelf[int]] = []

        def made() -> Iterator[int]:
            yield from (1, 2)
            drops[0].drop()
            yield from count(3)

        shelf = numbers(3, made())
        drops.append(shelf)
        for _ in range(ELEMENTS + 1 + 3):
            shelf.step(bytes)
        assert len(shelf) == 0
        fill(shelf)
        assert [shelf.give(bytes) for _ in range(3)] == [4, 5, 6]

    def test_threads_get_every_pair_once(self) -> None:
        shelf = fill(numbers(SHARED_DRAWS))
        given: list[int | None] = []
        barrier = threading.Barrier(8)

        def take() -> None:
            barrier.wait()
            for _ in range(SHARED_DRAWS // 8):
                given.append(shelf.give(bytes))  # noqa: PERF401 - one at a time is the point

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(pair or 0 for pair in given) == list(range(1000, 1000 + SHARED_DRAWS))

    def test_two_threads_that_fill_it_leave_no_more_than_is_wanted(self) -> None:
        """Both find one element, or one pair, lacking and make it."""
        shelf = numbers(SHARED_DRAWS)
        inner: list[Callable[[], None]] = []

        def both(_: Rng) -> int:
            if inner:
                inner.pop()()
            return 0

        shelf._element = both
        for _ in range(ELEMENTS - 1):
            shelf.step(bytes)
        inner.append(lambda: [shelf.step(bytes) for _ in range(2)])  # type: ignore[arg-type,return-value]
        shelf.step(bytes)
        assert shelf.complete
        assert shelf._elements == []
        fill(shelf)
        shelf.drop()
        fill(shelf)
        shelf._pairs.pop()
        make = shelf._make
        shelf._make = lambda rng: [make(rng), shelf.__setattr__("_make", make), shelf.step(bytes)][0]  # type: ignore[misc]
        shelf.step(bytes)
        assert len(shelf) == SHARED_DRAWS

    def test_repr_shows_nothing(self) -> None:
        assert repr(fill(numbers(1))) == "Shelf()"


class TestPool:
    def test_an_empty_one_makes_what_is_asked_for_on_the_spot(self) -> None:
        pool = Pool(TESTING_TINY)
        assert not pool.step(SeededRng(0))
        assert (
            pool.nonce(OWN, SeededRng(1))
            == pool.nonce(OWN.public, SeededRng(1))
            == PLAIN.nonce(OWN, SeededRng(1))
        )
        for ring in (RING, RING.public):
            assert pool.mask(ring, WIDE, SeededRng(1)) == PLAIN.mask(RING, WIDE, SeededRng(1))
            assert pool.power_of_s(ring, -5) == PLAIN.power_of_s(RING, -5)

    def test_it_is_filled_up_to_its_needs(self) -> None:
        pool = filled()
        assert len(pool) == 3 + 4 + 5 + 6
        for _ in range(2):
            pool.nonce(OWN, SeededRng(1))
        pool.nonce(PEER, SeededRng(1))
        pool.mask(RING.public, NARROW, SeededRng(1))
        assert len(pool) == 18 - 4
        while pool.step(SeededRng("again")):
            pass
        assert len(pool) == 18

    def test_what_it_gives_is_right_kept_or_made(self) -> None:
        pool, rng = filled(), SeededRng("given")
        own, peer = ([pool.nonce(key, rng) for _ in range(12)] for key in (OWN, PEER))
        for pair in own:
            assert_nonce(pair, OWN.public.N)
        for pair in peer:
            assert_nonce(pair, PEER.N)
        for bound in (NARROW, WIDE):
            masks = [pool.mask(RING.public, bound, rng) for _ in range(12)]
            for mask in masks:
                assert_mask(mask)
                assert abs(mask.value) <= bound + (ELEMENTS * bound >> 16)
            assert len({mask.value for mask in masks}) == 12
        assert len({pair.value for pair in own + peer}) == 24
        assert len(pool) == 0

    def test_the_owner_of_a_ring_and_masks_of_other_sizes_are_served_too(self) -> None:
        pool = filled()
        assert pool.mask(RING, WIDE, SeededRng(1)) == PLAIN.mask(RING, WIDE, SeededRng(1))
        assert pool.mask(RING.public, 77, SeededRng(1)) == PLAIN.mask(RING, 77, SeededRng(1))
        assert pool.power_of_s(RING, 5) == pool.power_of_s(RING.public, 5) == PLAIN.power_of_s(RING, 5)
        assert len(pool) == 18

    @pytest.mark.attack("D3")
    def test_copies_of_a_pool_hide_with_different_pairs(self) -> None:
        """The same entries, the same bytes from the system: another session is enough."""
        given = []
        for sid in (b"one", b"two"):
            pool, dice = filled(seed="clone"), hedged(bytes, 5, [sid])
            given.append(
                [
                    pool.nonce(OWN, dice),
                    pool.nonce(PEER, dice),
                    *(pool.mask(RING.public, b, dice) for b in (NARROW, WIDE)),
                ]
            )
        for one, other in zip(*given, strict=True):
            assert one.value != other.value
            assert one.power != other.power

    def test_the_hedge_of_a_mask_is_large_enough_to_hide_and_too_small_to_show(self) -> None:
        """At the full level 2^128 times what a mask has to hide, e*mu, and 2^-119 of the mask."""
        level = LEVEL_128
        bits = (level.eps - level.kappa) // 2
        assert bits == 128
        assert level.l + level.eps - bits >= level.kappa + level.l + 128
        assert ELEMENTS < 1 << 9

    def test_pairs_are_dropped_tables_stay(self) -> None:
        pool = filled()
        pool.drop_pairs()
        assert len(pool) == 0
        steps = 0
        while pool.step(SeededRng("refill")):
            steps += 1
        assert (steps, len(pool)) == (18, 18)

    def test_keys_that_are_not_in_use_are_forgotten(self) -> None:
        pool = filled()
        pool.retain([OWN.public.N, PEER.N, RING.public.N_hat])
        assert len(pool) == 18
        pool.retain([PEER.N])
        assert len(pool) == 4
        pool.retain([])
        assert len(pool) == 0
        assert not pool.step(SeededRng(0))

    def test_what_was_wanted_least_lately_makes_place(self) -> None:
        pool = Pool(TESTING_TINY)
        for number in range(PEERS + 1):
            key = PaillierPublic(PEER.N + 2 * number)
            ring = RingPedersen(RING.public.N_hat + 2 * number, RING.public.s, RING.public.t)
            pool.want(OWN, [(key, ring)], NEEDS)
            if number == PEERS - 1:
                pool.want(OWN, [(PEER, RING.public)], NEEDS)
        assert len(pool._peers) == len(pool._rings) == PEERS == 16
        assert PEER.N in pool._peers
        assert PEER.N + 2 not in pool._peers

    def test_repr_shows_nothing(self) -> None:
        pool = filled()
        assert repr(pool) == "Pool()"
        assert repr(PLAIN) == "Randomizers()"
        assert repr(pool._rings[RING.public.N_hat, RING.public.s, RING.public.t]) == "RingShelves()"
        pair = pool.nonce(OWN, SeededRng(1))
        assert repr(pair) == "NoncePair()"
        assert repr(pool.mask(RING.public, WIDE, SeededRng(1))) == "MaskPair()"
