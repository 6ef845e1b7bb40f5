"""What can be set about a node, with the values that hold when nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from participant.committee import Committee

DAY: Final = 24 * 3600.0

IDENTIFICATION: Final = "*.r5"
"""Finding out who cheated in presigning (protocol.md 4.2): minutes of proofs among many signers."""


@dataclass(frozen=True)
class Deadlines:
    """Seconds, on a monotonic clock, that a phase may last before the silent parties are named.

    A phase is `KIND.PHASE`, such as `presign.r2`, `aux.r1`, `keygen.done`; `for_phase` takes the first of `KIND.PHASE`,
    `*.PHASE`, `KIND` and `default` that is set. Showing what was said in a round (`presign.r2.show`) has the round's time.
    """

    default: float = 30.0
    phases: Mapping[str, float] = field(
        default_factory=lambda: {
            # A signer that does not answer the proposal is replaced at once.
            "sign.r0": 4.0, "sign": 4.0, "full-sign.r0": 4.0, "presign.r0": 4.0,
            "frost-sign.r0": 4.0, "frost-full-sign.r0": 4.0, "frost-pairs.r0": 4.0,
            "keygen.r0": 10.0, "aux.r0": 10.0, "frost-keygen.r0": 10.0,
            # Everybody may have to search four safe primes first.
            "aux.r1": 900.0, "aux": 120.0, "refresh.r0": 10.0, "refresh.r1": 900.0, "refresh": 120.0,
            IDENTIFICATION: 600.0,
        }
    )  # fmt: skip

    def for_phase(self, phase: str) -> float:
        """Seconds for a phase as `Session.phase` names it."""
        kind, _, step = phase.partition(".")
        round_ = step.removesuffix(".show")
        for name in (phase, f"{kind}.{round_}", f"*.{step}", f"*.{round_}", kind):
            if name in self.phases:
                return self.phases[name]
        return self.default


@dataclass(frozen=True)
class StockSettings:
    """The presignature stock (protocol.md 3.3; memory only)."""

    target: int = 4
    """High-water mark: fresh presignatures a signer set of an account that signed lately; 0 makes none."""
    recent: float = DAY
    """Seconds after its last signature for which an account counts as signing lately."""
    lifetime: float = DAY
    """Seconds after which a presignature is destroyed."""
    batch: int = 4
    """Presignatures made in one session, at most."""
    sets: int = 10
    """Up to so many signer sets of an account all are stocked, else those in recent use."""
    cap: int = 1024
    """Presignatures that this node owns, at most."""
    idle: float = 2.0
    """Seconds without another session before stock is made."""
    pool: int = 8
    """Presignatures whose random numbers are kept ready, for accounts that signed lately; 0 makes none by itself."""


@dataclass(frozen=True)
class RefreshSettings:
    """Refresh by itself; off unless `every` is set."""

    every: float | None = None
    """Seconds after which the shares of an account are old; None never refreshes by itself."""
    jitter: float = 600.0
    """A node waits so many seconds more at most, a random number of them, so that one proposes before the others."""


@dataclass(frozen=True)
class AskSettings:
    """wallet-mpc's way of asking (every participant is asked with one tx_id and execution_id)."""

    gather: float = 30.0
    """Seconds in which t equal notes must be there."""
    turn: float = 20.0
    """Seconds that a proposing node has before the next index proposes."""
    total: float = 90.0
    """Seconds after which the call fails."""
    linger: float = 60.0
    """Seconds for which an answered room is watched, to answer late ones again after the gateway lost it."""


@dataclass(frozen=True)
class NodeConfig:
    """A node's settings. `committees` are those of its configuration; the store may know more."""

    committees: tuple[Committee, ...] = ()
    gateway_url: str = ""
    """For messages only: the channel knows where it goes."""
    version: str = "0"
    deadlines: Deadlines = field(default_factory=Deadlines)
    stock: StockSettings = field(default_factory=StockSettings)
    ask: AskSettings = field(default_factory=AskSettings)
    refresh: RefreshSettings = field(default_factory=RefreshSettings)
    workers: int = 0
    """Threads for heavy arithmetic; 0 = one a core."""
    max_sessions: int = 64
    """Sessions of one committee at a time."""
    max_signing: int = 32
    """Requests that this node coordinates at a time; more wait."""
    sign_total: float = 120.0
    """Seconds after which a request to sign fails."""
    proposal_lifetime: float = 120.0
    """Seconds for which a proposal may be accepted, by the wall clock."""
    max_clock_skew: float = 300.0
    """Seconds by which a peer's wall clock may be ahead before its proposals are refused."""
    hello_interval: float = 30.0
    away_after: float = 90.0
    """Seconds without a hello after which a peer counts as away."""
    gather: float = 10.0
    """Seconds that a request waits for peers and gateway before it says who is missing."""
    linger: float = 30.0
    """Seconds for which the messages of an ended session are kept, to be posted again when the gateway lost them."""
    max_share_age: float | None = None
    """Seconds after which a share is too old to sign with; None = never."""
    deletion_grace: float = 7 * DAY
    """Seconds between the decision to delete an account and the erasure of its secrets."""
    primes_target: int = 4
    """Safe primes that the idle node keeps in its pool for the next aux run; 0 fills none by itself."""
    prime_processes: int = 1
    """Processes that search primes while the node is idle; a ceremony that waits uses one a core."""
