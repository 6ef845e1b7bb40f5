"""One committee: its parties, the relay between them, the time that passes, and what is recorded."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cggmp24_testing import dealt_aux, dealt_key, dealt_presignature
from session_testing import identity_of
from tss_testing import TINY, safe_primes

from simulation.artefacts import Artefacts
from simulation.disk import Account
from simulation.lies import clone
from simulation.party import Party
from simulation.relay import Faults, Relay
from simulation.scheduler import Scheduler
from tss.cggmp24.presignature import Presignature
from tss.encoding import Value
from tss.envelope import holder
from tss.params import Suite
from tss.proposal import Proposal

COMMITTEE_ID = b"\xc0" * 32


@dataclass
class Setting:
    """What is fixed before a life begins."""

    seed: int
    suite: Suite
    n: int
    t: int
    faults: Faults
    malicious: Mapping[int, type[Party]] = field(default_factory=dict)
    honest: Mapping[int, type[Party]] = field(default_factory=dict)
    """Honest parties of another class: what the checker's own tests plant."""
    crashing: float = 0.0
    """Probability, at a step of a session, that the process is gone before all has left."""
    quiet: bool = False


class World:
    """One life of a committee."""

    def __init__(self, setting: Setting, trace: Callable[[str], None] | None = None) -> None:
        self.seed, self.suite, self.n, self.t = setting.seed, setting.suite, setting.n, setting.t
        self.dice = random.Random(f"world {setting.seed}")
        self.scheduler = Scheduler()
        self.points = tuple(range(1, setting.n + 1))
        self.artefacts = Artefacts(
            setting.seed, setting.n, setting.t, setting.suite,
            {holder(j): identity_of(holder(j)).public for j in self.points},
            frozenset(setting.malicious), setting.quiet, trace=trace,
        )  # fmt: skip
        self.relay = Relay(self.scheduler, self.dice, setting.faults, self.artefacts.faults)
        self._crashing = setting.crashing
        self._sessions = 0
        self._primes = 0
        self._proposals = 0
        self._dealt = 0
        classes = {**setting.honest, **setting.malicious}
        self.parties = {j: classes.get(j, Party)(self, j) for j in self.points}
        for j, party in self.parties.items():
            self.relay.deliver[j] = party.deliver
        for when in setting.faults.forgets:
            self.scheduler.after(when, self._gateway_restarts)

    # -- what parties ask ------------------------------------------------------------------------------------------

    def others(self, index: int) -> list[int]:
        return [j for j in self.points if j != index]

    def session_number(self) -> int:
        self._sessions += 1
        return self._sessions

    def count(self, fault: str) -> None:
        self.artefacts.faults[fault] += 1

    def crashes_between(self, party: Party) -> bool:
        """Whether this party is killed between a step of a session and the last of what it says."""
        return bool(self._crashing) and not party.malicious and self.dice.random() < self._crashing

    def primes(self, index: int) -> tuple[int, int, int, int]:
        """Four safe primes that nobody else of this life has."""
        self._primes += 1
        pool = _pool(self.suite)
        place = 4 * (self.seed + self._primes * self.n + index) % len(pool)
        return pool[place], pool[place + 1], pool[place + 2], pool[place + 3]

    def proposal(
        self, initiator: int, account_id: str | None, kind: str, tail: list[Value], request_id: bytes
    ) -> Proposal:
        """One that differs from all before it."""
        self._proposals += 1
        return Proposal(
            holder(initiator), COMMITTEE_ID, account_id, kind, request_id, tail, None, self._proposals
        )

    def hello(self, sender: int, recipient: int, sids: Sequence[bytes]) -> None:
        """A note outside of all sessions, which travels as anything does."""
        faults = self.relay.faults
        if self.dice.random() >= faults.lost:
            delay = self.dice.expovariate(1.0 / faults.latency)
            self.scheduler.after(delay, lambda: self.parties[recipient].hear_hello(sender, sids))

    def _gateway_restarts(self) -> None:
        self.relay.forget()
        for party in self.parties.values():
            self.scheduler.after(self.dice.random(), party.post_again)

    # -- how a life begins and ends --------------------------------------------------------------------------------

    def deal(self, account_id: str, number: int) -> None:
        """A key that is there from the beginning, with auxiliary information."""
        shares = dealt_key(self.suite, self.n, self.t, number)
        self.artefacts.dealt[account_id] = shares[1]
        self._dealt = number
        # Presigning on the real curve would take seconds: there the set is a name only.
        aux = dealt_aux(self.suite, self.n) if self.suite is TINY else {}
        aux_id = aux[1].aux_id if aux else b"\xa0" * 32
        for j, party in self.parties.items():
            if aux:
                party.disk.aux[aux_id] = aux[j]
            party.disk.current_aux = aux_id
            party.disk.accounts[account_id] = Account(shares[j], aux_id)

    def deal_stock(self, signers: tuple[int, ...], owner: int, number: int) -> None:
        """A presignature of the dealt key that is in everybody's memory from the beginning."""
        for j, part in _dealt(self.suite, self.n, self.t, self._dealt, signers, owner, number).items():
            mine = clone(part)
            self.parties[j].stock[mine.id] = mine

    def run(self) -> Artefacts:
        """Let it happen; then everything works again, everybody is back, and what was left behind catches up."""
        self.scheduler.run()
        self._crashing = 0.0
        self.relay.faults.heal()
        for party in self.parties.values():
            party.disk.refuses.clear()
            party.disk.crashes.clear()
            party.restart()
        for _ in range(3):
            for party in self.parties.values():
                party.hello()
            self.scheduler.run()
        for j, party in self.parties.items():
            self.artefacts.holdings[j] = party.holding()
        return self.artefacts


@lru_cache(maxsize=1024)
def _dealt(
    suite: Suite, n: int, t: int, key: int, signers: tuple[int, ...], owner: int, number: int
) -> dict[int, Presignature]:
    return dealt_presignature(dealt_key(suite, n, t, key), signers, owner, seed=(key, owner, number))


@lru_cache(maxsize=4)
def _pool(suite: Suite) -> list[int]:
    """Safe primes for the aux runs of all lives."""
    return safe_primes(suite.level, 4 * 64, "simulation")
