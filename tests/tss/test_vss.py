"""Shamir, Feldman and Lagrange over all three groups."""

from __future__ import annotations

from itertools import combinations

import pytest
from tss_testing import TOY, SeededRng

from tss.errors import BadIndex, BadShare, WrongLength
from tss.groups import ED25519, SECP256K1
from tss.rand import scalar
from tss.vss import Polynomial, check_indices, check_share, commitment_at, interpolate, lagrange

every_group = pytest.mark.parametrize("group", [SECP256K1, ED25519, TOY], ids=lambda g: g.name)


@every_group
@pytest.mark.parametrize(("t", "n"), [(2, 2), (2, 3), (3, 5), (5, 5), (7, 16)])
def test_any_t_shares_give_the_secret_and_their_commitments_match(group, t, n):
    rng = SeededRng((group.name, t, n))
    f = Polynomial.random(group, t, rng)
    commitments = f.commit()
    assert len(commitments) == t
    shares = {i: f.evaluate(i) for i in range(1, n + 1)}
    for index, share in shares.items():
        check_share(share, commitments, index)
        assert commitment_at(commitments, index) == group.mul_base(share), rng
    secret = f.coefficients[0]
    for S in list(combinations(shares, t))[:20]:
        chosen = {i: shares[i] for i in S}
        assert interpolate(chosen, 0, group.q) == secret, rng
        assert sum(lagrange(S, i, 0, group.q) * shares[i] for i in S) % group.q == secret
        # Shares in the exponent, and at another point than zero.
        assert group.sum(lagrange(S, i, 0, group.q) * group.mul_base(shares[i]) for i in S) == commitments[0]
        outside = n + 3
        assert interpolate(chosen, outside, group.q) == f.evaluate(outside)
    if t > 2:
        too_few = dict(list(shares.items())[: t - 1])
        assert interpolate(too_few, 0, group.q) != secret


@every_group
def test_polynomial_is_the_formula(group):
    f = Polynomial(group, (5, 7, 11))
    q = group.q
    for z in (1, 2, 12345, q - 1):
        assert f.evaluate(z) == (5 + 7 * z + 11 * z * z) % q
    assert f.commit() == [5 * group.G, 7 * group.G, 11 * group.G]
    assert f.commit(1) == [7 * group.G, 11 * group.G]


@every_group
def test_given_constant(group):
    rng = SeededRng(("constant", group.name))
    for constant, expected in (
        (0, 0),
        (5, 5),
        (group.q - 1, group.q - 1),
        (group.q + 2, 2),
        (-1, group.q - 1),
    ):
        f = Polynomial.random(group, 3, rng, constant=constant)
        assert f.coefficients[0] == expected
        assert len(f.coefficients) == 3
        assert 0 not in f.coefficients[1:]


@every_group
def test_sharing_of_zero_has_no_constant_term(group):
    """A polynomial with g(0) != 0 fails: there is no commitment to its constant (protocol.md 2.2)."""
    rng = SeededRng(("zero", group.name))
    g = Polynomial.random(group, 3, rng, constant=0)
    for index in range(1, 6):
        check_share(g.evaluate(index), g.commit(1), index, first_power=1)
        assert commitment_at(g.commit(1), index, first_power=1) == commitment_at(g.commit(), index)
    cheat = Polynomial.random(group, 3, rng, constant=1)
    with pytest.raises(BadShare):
        check_share(cheat.evaluate(2), cheat.commit(1), 2, first_power=1)


@every_group
def test_coefficients_come_from_the_rng(group):
    polynomials = [Polynomial.random(group, 2, SeededRng(i)) for i in range(20)]
    assert (
        len({f.coefficients[0] for f in polynomials}) == len({f.coefficients[1] for f in polynomials}) == 20
    )
    assert Polynomial.random(group, 2, SeededRng(3)) == polynomials[3]


@pytest.mark.attack("C4")
@every_group
def test_wrong_shares_are_refused(group):
    rng = SeededRng(("wrong", group.name))
    f, h = Polynomial.random(group, 3, rng), Polynomial.random(group, 3, rng)
    commitments, q = f.commit(), group.q
    right = f.evaluate(2)
    wrong = [
        right + 1,
        right - 1,
        right + q,
        right - q,
        -right,
        0,
        q,
        f.evaluate(3),
        h.evaluate(2),
        q - right,
    ]
    for share in wrong:
        with pytest.raises(BadShare) as refusal:
            check_share(share, commitments, 2)
        assert refusal.value.peer is None
        assert str(share) not in str(refusal.value) or share == 0
    with pytest.raises(BadShare):
        check_share(right, [*commitments[:2], h.commit()[2]], 2)
    with pytest.raises(BadShare):
        check_share(right, commitments[:2], 2)
    with pytest.raises(BadShare):
        check_share(right, list(reversed(commitments)), 2)
    check_share(right, commitments, 2)


@every_group
def test_shares_at_the_ends_of_their_range(group):
    """0 is a share like any other, its other form q is none."""
    G, q = group.G, group.q
    check_share(0, [G, -G], 1)
    check_share(q - 1, [-G], 3)
    for share, commitments in ((q, [G, -G]), (-1, [-G]), (q + 1, [G])):
        with pytest.raises(BadShare, match=r"not in \[0, q\)"):
            check_share(share, commitments, 1)


@every_group
def test_commitments_at_edges(group):
    """Degenerate commitments are computed rightly: O where the sum is O."""
    G = group.G
    assert commitment_at([G], 5) == G
    assert commitment_at([G, -G], 1) == group.identity
    assert commitment_at([5 * G, -G], 5) == group.identity
    assert commitment_at([group.identity, G], 7) == 7 * G
    assert commitment_at([G, G, G], group.q - 1) == G
    assert commitment_at([G, G], group.q) == G
    with pytest.raises(WrongLength):
        commitment_at([], 1)
    with pytest.raises(WrongLength):
        check_share(0, [], 1)


def test_lagrange_by_hand():
    # lam_1({1,3}) = (0-3)/(1-3) = 3/2, lam_3 = (0-1)/(3-1) = -1/2.
    q = SECP256K1.q
    half = pow(2, -1, q)
    assert lagrange([1, 3], 1, 0, q) == 3 * half % q
    assert lagrange([1, 3], 3, 0, q) == -half % q
    assert lagrange((3, 1), 1, 0, q) == lagrange({1, 3}, 1, 0, q)
    assert lagrange([4], 4, 0, q) == 1


@every_group
def test_lagrange_properties(group):
    rng, q = SeededRng(("lagrange", group.name)), group.q
    S = [1, 2, 5, 9, q - 1]
    for z in (0, 3, q - 2, *(scalar(rng, q) for _ in range(5))):
        values = [lagrange(S, i, z, q) for i in S]
        assert all(0 <= v < q for v in values)
        assert sum(values) % q == 1
        assert sum(v * i**4 for v, i in zip(values, S, strict=True)) % q == pow(z, 4, q)
    # At a point of the set the coefficients select it.
    assert [lagrange(S, i, 5, q) for i in S] == [0, 0, 1, 0, 0]


Q = TOY.q


@pytest.mark.attack("C3")
@pytest.mark.parametrize(
    "indices", [[0], [1, 0], [Q], [2 * Q], [Q + 1], [1, Q + 1], [1, 1], [3, 2, 3], [-1], [1, 1 - Q]]
)
def test_bad_indices(indices):
    """0, q and 2q would receive the secret; equal ones, also mod q, have no coefficients (security.md C3)."""
    with pytest.raises(BadIndex):
        check_indices(indices, Q)
    with pytest.raises(BadIndex):
        lagrange(indices, indices[-1], 0, Q)


def test_good_indices():
    check_indices([], Q)
    check_indices([1, 2, 3, Q - 1], Q)
    check_indices(iter([1, 2]), Q)


@pytest.mark.attack("C3")
def test_evaluation_never_hands_out_the_secret():
    f = Polynomial(TOY, (5, 7))
    for index in (0, Q, -Q, 2 * Q, Q + 1, -1):
        with pytest.raises(BadIndex):
            f.evaluate(index)


def test_lagrange_outside_its_set():
    with pytest.raises(BadIndex):
        lagrange([1, 2], 3, 0, Q)


def test_repr_hides_the_coefficients():
    shown = repr(Polynomial(TOY, (123456789, 987654321)))
    assert "123456789" not in shown
    assert "987654321" not in shown
