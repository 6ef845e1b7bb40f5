"""Committees for tests of resharing and recovery, in which parties have roles.

Dealers have evaluation points above those of the new holders, so that a point names one party.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cggmp24_testing import _run, dealt_key, primes_of
from session_testing import Outcomes, Program, identity_of
from tss_testing import TINY

from tss.cggmp24 import recover, reshare
from tss.cggmp24.recover import HELPER, RECIPIENT
from tss.cggmp24.reshare import DEALER, NEW, Terms
from tss.envelope import PartyId
from tss.params import Suite
from tss.records import KeyShare

COMMITTEE_ID = b"\x9c" * 32


def _key(suite: Suite, n: int, t: int, seed: object) -> dict[int, KeyShare]:
    return dealt_key(suite, n, t, seed=seed, chain_code=None if suite.chain_code_bytes else b"")


def dealer(index: int) -> PartyId:
    return PartyId(DEALER, index)


def new(index: int) -> PartyId:
    return PartyId(NEW, index)


@dataclass(frozen=True)
class Move:
    """A key, t of n, that goes to t' of n'."""

    suite: Suite = TINY
    n: int = 5
    t: int = 2
    dealers: tuple[int, ...] = (4, 5)
    new_n: int = 3
    new_t: int = 2
    seed: object = 0

    @property
    def key(self) -> dict[int, KeyShare]:
        return _key(self.suite, self.n, self.t, self.seed)

    @property
    def terms(self) -> Terms:
        return Terms.of(self.key[1], self.dealers, self.new_t, COMMITTEE_ID)

    @property
    def parties(self) -> list[PartyId]:
        return [*map(dealer, self.dealers), *map(new, range(1, self.new_n + 1))]

    def primes(self) -> Mapping[int, Sequence[int]]:
        return primes_of(self.suite, self.new_n) if self.suite.has_aux else {}

    def program(self, party: PartyId, terms: Terms | None = None) -> Program:
        """The honest one."""
        known = terms or self.terms
        if party.role == DEALER:
            share = self.key[party.index]
            return lambda ctx: reshare.deal(ctx, known, share)
        primes = self.primes().get(party.index)
        take = None if primes is None else lambda: tuple(primes)
        return lambda ctx: reshare.hold(ctx, known, take)  # type: ignore[arg-type]

    def run(
        self, seed: object = 0, *, programs: Mapping[int, Program] | None = None, **options: Any
    ) -> Outcomes:
        """Resharing; `programs` replaces those of cheaters, by evaluation point."""
        own = programs or {}
        honest = {party: own.get(party.index) or self.program(party) for party in self.parties}
        options["cheaters"] = {*options.get("cheaters", ()), *own}
        options["stored"] = [self.key[i] for i in self.dealers]
        return _run(honest, None, seed, self.suite, reshare.KIND, self.terms.tail(), options)  # type: ignore[arg-type]


def helper(index: int) -> PartyId:
    return PartyId(HELPER, index)


def recipient(index: int) -> PartyId:
    return PartyId(RECIPIENT, index)


@dataclass(frozen=True)
class Loss:
    """A key, t of n, of which r lost its share, and who helps."""

    suite: Suite = TINY
    n: int = 5
    t: int = 3
    helpers: tuple[int, ...] = (1, 3, 5)
    r: int = 2

    @property
    def key(self) -> dict[int, KeyShare]:
        return _key(self.suite, self.n, self.t, "lost")

    @property
    def terms(self) -> recover.Terms:
        return recover.Terms.of(
            self.key[self.helpers[0]], self.helpers, self.r, identity_of(recipient(self.r)).public
        )

    def program(self, index: int, terms: recover.Terms | None = None) -> Program:
        known = terms or self.terms
        if index == self.r:
            return lambda ctx: recover.recover(ctx, known)
        return lambda ctx: recover.help_recover(ctx, known, self.key[index])

    def run(
        self, seed: object = 0, *, programs: Mapping[int, Program] | None = None, **options: Any
    ) -> Outcomes:
        own = programs or {}
        parties = [*map(helper, self.helpers), recipient(self.r)]
        honest = {party: own.get(party.index) or self.program(party.index) for party in parties}
        options["cheaters"] = {*options.get("cheaters", ()), *own}
        options["stored"] = [self.key[i] for i in self.helpers]
        return _run(honest, None, seed, self.suite, recover.KIND, self.terms.tail(), options)  # type: ignore[arg-type]
