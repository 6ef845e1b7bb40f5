"""Shamir sharing with Feldman commitments (protocol.md 0.1, 1).

A polynomial of degree t-1 has t coefficients; its value at the nonzero point I_j is party j's share. Evaluation points
are assigned, never taken from a peer (security.md C3).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from tss import rand
from tss.errors import BadIndex, BadShare, WrongLength
from tss.groups import Group, Point
from tss.rand import Rng


def check_indices(indices: Iterable[int], q: int) -> None:
    """Raise BadIndex unless all evaluation points lie in (0, q) and are distinct.

    A point that is 0 mod q would receive the secret itself, two equal ones have no Lagrange coefficients.
    """
    seen: set[int] = set()
    for index in indices:
        if not 0 < index < q:
            raise BadIndex(f"evaluation point {index} is not in (0, q)")
        if index in seen:
            raise BadIndex(f"evaluation point {index} occurs twice")
        seen.add(index)


def lagrange(S: Collection[int], i: int, z: int, q: int) -> int:
    """lam_i(S, z) = prod over j in S, j != i of (z - I_j)/(I_i - I_j) mod q, in [0, q).

    Raises BadIndex when `S` is not a set of evaluation points or lacks `i`.
    """
    check_indices(S, q)
    if i not in S:
        raise BadIndex(f"evaluation point {i} is not in the set")
    numerator = denominator = 1
    for j in S:
        if j != i:
            numerator = numerator * (z - j) % q
            denominator = denominator * (i - j) % q
    return numerator * pow(denominator, -1, q) % q


@dataclass(frozen=True)
class Polynomial:
    """f(z) = sum of coefficients[k] * z^k over Z_q; every coefficient is secret and hidden by `repr`."""

    group: Group
    coefficients: tuple[int, ...] = field(repr=False)

    @classmethod
    def random(cls, group: Group, t: int, rng: Rng, constant: int | None = None) -> Self:
        """A polynomial of degree t-1 with uniform coefficients; `constant`, where given, is f(0) mod q.

        With constant 0 it shares zero (refresh); with a share times its Lagrange coefficient it reshares that.
        """
        first = rand.scalar(rng, group.q) if constant is None else int(constant % group.q)
        return cls(group, (first, *(rand.scalar(rng, group.q) for _ in range(t - 1))))

    def evaluate(self, index: int) -> int:
        """f(index), the share of evaluation point `index`, in [0, q). Raises BadIndex for 0 mod q, which is the secret."""
        check_indices((index,), self.group.q)
        value = 0
        for coefficient in reversed(self.coefficients):
            value = (value * index + coefficient) % self.group.q
        return value

    def commit(self, first_power: int = 0) -> list[Point]:
        """[coefficients[k] * G for k >= first_power]: the Feldman commitments, t of them (t-1 for a sharing of zero)."""
        return [self.group.mul_base(coefficient) for coefficient in self.coefficients[first_power:]]


def commitment_at(commitments: Sequence[Point], index: int, *, first_power: int = 0) -> Point:
    """The sum of index^k * C_k: the public image f(index)*G of a share.

    `commitments[0]` is C_k for k = `first_power`: 0, or 1 for a sharing of zero, which has no constant term. Raises
    WrongLength for no commitments.
    """
    if not commitments:
        raise WrongLength("no commitments")
    group = commitments[0].group
    power = pow(index, first_power, group.q)
    terms = []
    for commitment in commitments:
        terms.append(commitment if power == 1 else power * commitment)
        power = power * index % group.q
    return group.sum(terms)


def check_share(share: int, commitments: Sequence[Point], index: int, *, first_power: int = 0) -> None:
    """Feldman's check: share in [0, q) and share*G = sum of index^k * C_k. Raises BadShare (security.md C4)."""
    group = commitments[0].group if commitments else None
    if group is None:
        raise WrongLength("no commitments")
    if not 0 <= share < group.q:
        raise BadShare("share is not in [0, q)")
    if group.mul_base(share) != commitment_at(commitments, index, first_power=first_power):
        raise BadShare("share does not match its commitments")


def interpolate(shares: dict[int, int], z: int, q: int) -> int:
    """f(z) from as many shares {I_j: f(I_j)} as f has coefficients. Raises BadIndex for bad evaluation points."""
    return sum(lagrange(shares.keys(), i, z, q) * share for i, share in shares.items()) % q
