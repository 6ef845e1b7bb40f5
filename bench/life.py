"""What a key's operations cost at full size, from key generation to recovery: of the party that spends the most.

    python -m bench.life
    python -m bench.life ed25519

Sessions of the real engine in one process (bench/parties.py): processor time and bytes of envelopes, before the rooms' base64. The
search of primes is not in it: see safe_prime, four of them a party and aux run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from bench.ceremonies import four_primes
from bench.keys import SUITE, kept_primes
from bench.measure import Reference
from bench.parties import Agreed, Party, Program, committee, run_all
from tss.cggmp24 import aux_info, keygen, recover, refresh, reshare
from tss.encoding import Value
from tss.frost import dkg
from tss.params import FROST_ED25519, Suite
from tss.records import KeyShare
from tss.vss import lagrange

SIZES: Final = ((2, 3), (3, 5))
"""(t, n)."""


class Table:
    """Runs sessions and prints a line for each."""

    def __init__(self) -> None:
        self.reference = Reference()
        print(f"{'suite':14}{'operation':28}{'CPU':>11}{'in T':>8}{'sent':>11}")

    def run(
        self, what: str, parties: Sequence[Party], agreed: Agreed, programs: Sequence[Program]
    ) -> list[Any]:
        """One session's results, in the order of the parties."""
        self.reference.sample(1)
        results = run_all(parties, agreed, programs)
        ms, sent = (
            max(party.ms for party in parties) / 1000,
            max(party.bytes_sent for party in parties) / 1000,
        )
        name = agreed.suite.group.name
        print(f"{name:14}{what:28}{ms:9.3f} s{1000 * ms / self.reference.ms:8.1f}{sent:8.1f} kB", flush=True)
        return results


def check_key(shares: Sequence[KeyShare]) -> None:
    """Raise RuntimeError unless t of the shares are the key's."""
    some = sorted(shares, key=lambda share: share.me)[-shares[0].t :]
    points, q_ = [share.me for share in some], shares[0].suite.group.q
    x = sum(lagrange(points, share.me, 0, q_) * share.x for share in some) % q_
    if shares[0].suite.group.mul_base(x) != shares[0].X:
        raise RuntimeError("the shares are not the key's")


def primes_for(suite: Suite, n: int) -> list[Any]:
    """What takes the primes of each of n parties, by point; None where a suite needs none."""
    primes = kept_primes(4 * n) if suite.has_aux else []
    return [partial(four_primes, primes, j) if primes else None for j in range(1, n + 1)]


def make_key(table: Table, suite: Suite, t: int, n: int) -> list[KeyShare]:
    """The shares of a new key, with auxiliary information where the suite needs it."""
    size, protocol = f"{t} of {n}", (keygen.KIND, keygen.keygen) if suite.has_aux else (dkg.KIND, dkg.dkg)
    kind, make = protocol
    parties = committee(n)
    agreed = Agreed(kind, keygen.tail(n, t), suite=suite)
    shares = table.run(f"key generation, {size}", parties, agreed, [partial(make, t=t)] * n)
    if suite.has_aux:
        programs = [partial(aux_info.aux_info, take_primes=take) for take in primes_for(suite, n)]
        table.run(
            f"auxiliary info, {size}", committee(n), Agreed(aux_info.KIND, aux_info.tail(None)), programs
        )
    return list(shares)


def live(table: Table, suite: Suite, t: int, n: int, to: tuple[int, int]) -> None:
    """A key's life: made, refreshed, one share recovered, moved to another committee."""
    shares, size = make_key(table, suite, t, n), f"{t} of {n}"
    aux_ids = [os.urandom(32) if suite.has_aux else None]

    tail = refresh.tail(shares[:1], aux_ids)
    programs: list[Program] = [
        partial(refresh.refresh, shares=[share], take_primes=take)
        for share, take in zip(shares, primes_for(suite, n), strict=True)
    ]
    made = table.run(f"refresh, {size}", committee(n), Agreed(refresh.KIND, tail, suite=suite), programs)
    shares = [one.shares[0] for one in made]
    check_key(shares)

    recovered = recover_last(table, shares)
    check_key([*shares[:-1], recovered])

    new_t, new_n = to
    dealers, new = committee(t, reshare.DEALER), committee(new_n, reshare.NEW)
    terms = reshare.Terms.of(shares[0], range(1, t + 1), new_t, os.urandom(32))
    agreed = Agreed(reshare.KIND, terms.tail(), suite=suite)
    programs = [partial(reshare.deal, terms=terms, share=share) for share in shares[:t]]
    programs += [partial(reshare.hold, terms=terms, take_primes=take) for take in primes_for(suite, new_n)]
    held = table.run(f"{size} to {new_t} of {new_n}", [*dealers, *new], agreed, programs)[t:]
    check_key([one.share for one in held])


def recover_last(table: Table, shares: Sequence[KeyShare]) -> KeyShare:
    """The last holder's share, out of the first ones'."""
    t, n = shares[0].t, len(shares)
    helpers, lost = committee(t, recover.HELPER), Party(n, recover.RECIPIENT)
    terms = recover.Terms.of(shares[0], range(1, t + 1), n, lost.identity)
    tail: list[Value] = terms.tail()
    programs: list[Program] = [
        partial(recover.help_recover, terms=terms, share=share) for share in shares[:t]
    ]
    programs.append(partial(recover.recover, terms=terms))
    agreed = Agreed(recover.KIND, tail, suite=shares[0].suite)
    recovered: KeyShare = table.run(f"recovery, {t} of {n}", [*helpers, lost], agreed, programs)[-1]
    if recovered.x != shares[-1].x:
        raise RuntimeError("another share was recovered")
    return recovered


def main() -> int:
    """The exit code."""
    suites = {suite.group.name: suite for suite in (SUITE, FROST_ED25519)}
    parser = argparse.ArgumentParser(prog="python -m bench.life", description="A key's operations.")
    parser.add_argument("curves", nargs="*", choices=[*suites, []], help=f"of {', '.join(suites)}")
    curves = parser.parse_args().curves or list(suites)
    table = Table()
    for suite in (suites[curve] for curve in curves):
        for size, to in zip(SIZES, SIZES[::-1], strict=True):
            live(table, suite, *size, to)
    print(f"T = {table.reference.ms:.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
