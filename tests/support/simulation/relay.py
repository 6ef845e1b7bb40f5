"""The gateway between the parties: late, twice, never, garbled, forged, divided, and without a memory."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from simulation.scheduler import Scheduler
from tss.envelope import Sealed, Signed, decode_body, pack, unpack

ROOM: Final = 200
"""Envelopes that a gateway keeps for whoever comes back."""


@dataclass
class Faults:
    """What goes wrong between the parties and at them. Probabilities are a copy's of an envelope."""

    latency: float = 0.2
    late: float = 0.0
    """A copy takes up to `lateness` seconds more."""
    lateness: float = 5.0
    twice: float = 0.0
    lost: float = 0.0
    garbled: float = 0.0
    """A changed copy arrives besides."""
    replayed: float = 0.0
    """An envelope of before arrives again, at anybody."""
    partitions: list[tuple[float, float, frozenset[int], bool]] = field(default_factory=list)
    """(from, to, one side, whether what is held up is lost)."""
    forgets: list[float] = field(default_factory=list)
    """When the gateway loses all that it has."""

    def heal(self) -> None:
        """Everything works from now on."""
        self.late = self.twice = self.lost = self.garbled = self.replayed = 0.0
        self.partitions, self.forgets = [], []


class Relay:
    """Copies of envelopes on their way. The recipient's index says whose `deliver` it is."""

    def __init__(
        self, scheduler: Scheduler, dice: random.Random, faults: Faults, counts: Counter[str]
    ) -> None:
        self.faults = faults
        self._scheduler = scheduler
        self._dice = dice
        self._counts = counts
        self._epoch = 0
        self._past: list[bytes] = []
        self._rooms: defaultdict[int, deque[bytes]] = defaultdict(lambda: deque(maxlen=ROOM))
        self.deliver: dict[int, Callable[[bytes], None]] = {}

    def send(self, sender: int, recipient: int, envelope: bytes) -> None:
        """One copy to one party."""
        faults, dice = self.faults, self._dice
        if faults.lost and dice.random() < faults.lost:
            self._counts["lost"] += 1
            return
        delay = self._delay(sender, recipient)
        if delay is None:
            self._counts["lost in a partition"] += 1
            return
        self._arrive(delay, recipient, envelope)
        if faults.twice and dice.random() < faults.twice:
            self._counts["duplicated"] += 1
            self._arrive(delay + dice.expovariate(0.5), recipient, envelope)
        if faults.garbled and dice.random() < faults.garbled:
            self._counts["forged"] += 1
            self._arrive(dice.random() * delay, recipient, self._garble(envelope))
        if faults.replayed:
            self._remember(envelope)
            if dice.random() < faults.replayed:
                self._counts["replayed"] += 1
                anybody = dice.choice(sorted(self.deliver))
                self._arrive(delay + dice.expovariate(0.05), anybody, dice.choice(self._past))

    def forget(self) -> None:
        """The gateway is restarted with an empty store: what is on its way does not arrive."""
        self._counts["gateway lost its rooms"] += 1
        self._epoch += 1
        self._rooms.clear()

    def show_past(self, recipient: int) -> None:
        """Whoever joins a room is shown what was said in it."""
        for envelope in list(self._rooms[recipient]):
            self._scheduler.after(self._dice.random(), partial(self.deliver[recipient], envelope))

    def _remember(self, envelope: bytes) -> None:
        if len(self._past) < 64:
            self._past.append(envelope)
        else:
            self._past[self._dice.randrange(64)] = envelope

    def _arrive(self, delay: float, recipient: int, envelope: bytes) -> None:
        epoch = self._epoch

        def arrive() -> None:
            if epoch == self._epoch:
                self._rooms[recipient].append(envelope)
                self.deliver[recipient](envelope)

        self._scheduler.after(delay, arrive)

    def _delay(self, sender: int, recipient: int) -> float | None:
        """Seconds on the way; None when a partition swallows it."""
        faults, dice, now = self.faults, self._dice, self._scheduler.now
        delay = faults.latency * (0.2 + dice.expovariate(1.0))
        if faults.late and dice.random() < faults.late:
            self._counts["late"] += 1
            delay += dice.random() * faults.lateness
        for begin, end, side, lossy in faults.partitions:
            if begin <= now < end and (sender in side) != (recipient in side):
                if lossy:
                    return None
                self._counts["held up by a partition"] += 1
                delay += end - now
        return delay

    def _garble(self, envelope: bytes) -> bytes:
        """What somebody without any key can make of an envelope."""
        dice = self._dice
        way = dice.randrange(5)
        if way == 0:
            return envelope[: dice.randrange(len(envelope))]
        if way == 1:
            return dice.randbytes(dice.randrange(200))
        if way == 2 and not isinstance(parts := unpack(envelope), Sealed):
            # The same message under another signature.
            return pack(Signed(decode_body(parts[0]), parts[0], dice.randbytes(64)))
        changed = bytearray(envelope)
        for _ in range(dice.choice((1, 1, 3))):
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        return bytes(changed)


def draw(dice: random.Random, profile: str, n: int, span: float) -> Faults:
    """The network of one life of about `span` seconds: calm (nothing is lost), rough, or hostile."""
    faults = Faults(
        latency=dice.choice((0.05, 0.3, 1.0)),
        late=dice.choice((0.0, 0.05, 0.3)),
        lateness=dice.choice((2.0, 10.0)),
        twice=dice.choice((0.0, 0.1, 0.3)),
        garbled=dice.choice((0.0, 0.02, 0.1)),
        replayed=dice.choice((0.0, 0.02, 0.1)),
    )
    if profile == "calm":
        # Late, and yet before every deadline.
        faults.latency, faults.lateness = dice.choice((0.05, 0.3)), dice.choice((2.0, 4.0))
        return faults
    faults.lateness = dice.choice((5.0, 30.0, 90.0))
    faults.lost = dice.choice((0.0, 0.003, 0.02) if profile == "rough" else (0.003, 0.03, 0.15))
    sides: Sequence[int] = range(1, n + 1)
    for _ in range(dice.choice((0, 0, 1, 2))):
        begin = dice.random() * span
        side = frozenset(dice.sample(sides, dice.randrange(1, n)))
        faults.partitions.append((begin, begin + dice.choice((3.0, 30.0, 120.0)), side, dice.random() < 0.5))
    faults.forgets = [dice.random() * span for _ in range(dice.choice((0, 0, 0, 1, 2)))]
    return faults
