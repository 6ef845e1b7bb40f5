"""What a protocol may ask of the engine.

A protocol is a generator that yields these and is resumed with their results. It reaches out in no other way.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tss.encoding import Schema, Value
from tss.envelope import Kind, PartyId, Signed
from tss.params import Suite
from tss.rand import Rng
from tss.transcript import Context, hash_commit

T = TypeVar("T")

Job = Callable[[], Any]
"""A pure computation, safe to run in another thread. Raises only tss.errors.ProtocolError and its kind."""


class PublicContext:
    """What a session binds for all its parties alike: everything that a check may use.

    So a party's check of a peer and a third party's check of evidence are one function.
    """

    suite: Suite
    sid: bytes
    identities: Mapping[PartyId, bytes]
    """Ed25519 identity keys, 32 bytes each."""

    @property
    def parties(self) -> tuple[PartyId, ...]:
        """All parties, sorted."""
        return tuple(sorted(self.identities))

    def hc(self, tag: str, *values: Value) -> bytes:
        """Hc of protocol.md 0.6 under this session's suite, 32 bytes."""
        return hash_commit(self.suite.proto, tag, *values)

    def proof(
        self,
        label: str,
        prover: PartyId,
        verifier: PartyId | None = None,
        rid: bytes | None = None,
        sid: bytes | None = None,
    ) -> Context:
        """CTX of a proof; `sid` is the item's isid in presigning and this session's otherwise."""
        return Context(
            sid=self.sid if sid is None else sid,
            prover=prover.as_list(),
            verifier=None if verifier is None else verifier.as_list(),
            rid=rid,
            label=label,
        )


@dataclass(frozen=True)
class SessionContext(PublicContext):
    """What a protocol knows about its session."""

    suite: Suite
    sid: bytes
    me: PartyId
    identities: Mapping[PartyId, bytes]
    """Ed25519 identity keys, 32 bytes each."""
    rng: Rng = field(repr=False)
    accepted: Mapping[PartyId, Value] = field(default_factory=dict)
    """What the acceptances carried, this party's included (`Setup.enclosed`)."""

    @property
    def others(self) -> tuple[PartyId, ...]:
        """All parties but this one, sorted."""
        return tuple(party for party in self.parties if party != self.me)


class Echo(enum.Enum):
    """How the parties make sure that they saw the same broadcasts (protocol.md 0.8)."""

    BLOCKING = "blocking"
    """The protocol goes on only after all echoes of this round are in and equal."""
    NEXT = "next"
    """The echo travels inside the next broadcast and is checked with it."""
    NONE = "none"
    """What the round says is bound and verified otherwise (sigma rounds, done)."""


@dataclass(frozen=True)
class Send:
    """Send one round: a broadcast, peer-to-peer payloads, or both."""

    round: int
    broadcast: Value = None
    p2p: Mapping[PartyId, Value] = field(default_factory=dict, repr=False)
    kind: Kind = Kind.MSG


@dataclass(frozen=True)
class SendDurably:
    """Sign a broadcast, make it durable together with `record`, and only then send it. Resumed with the envelope.

    After one of kind DONE neither abort nor timeout may undo anything (protocol.md 0.8, completion).
    """

    round: int
    broadcast: Value
    record: object = field(repr=False)
    kind: Kind = Kind.MSG


@dataclass(frozen=True)
class Durable:
    """What is persisted for a SendDurably: the record and the envelope that will be sent, byte for byte."""

    record: object = field(repr=False)
    envelope: bytes = field(repr=False)


@dataclass(frozen=True)
class Receive:
    """Wait for one round from `senders` (all others when None). Resumed with {PartyId: Received}."""

    round: int
    broadcast: Schema | None = None
    p2p: Schema | None = None
    echo: Echo = Echo.NEXT
    senders: Sequence[PartyId] | None = None
    kind: Kind = Kind.MSG
    p2p_from: Sequence[PartyId] | None = None
    """Who of the senders has a peer-to-peer message for this party; all of them when None."""


@dataclass(frozen=True)
class Received:
    """What one party sent in one round."""

    broadcast: Value
    p2p: Value = field(repr=False)
    signed_broadcast: Signed | None = None
    signed_p2p: Signed | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Compute:
    """Run jobs, in any order and in parallel. Resumed with the list of their results.

    When jobs raise, the protocol gets the exception of the first of them in list order, so that the outcome does not
    depend on scheduling.
    """

    jobs: Sequence[Job]
    brief: bool = False
    """Whether none takes more than a few milliseconds: handing one to another thread may cost as much."""


@dataclass(frozen=True)
class Persist:
    """Make `record` durable; the protocol goes on only when it is. Resumed with what the store returns."""

    record: object


@dataclass(frozen=True)
class Progress:
    """For people: what is going on."""

    stage: str


@dataclass(frozen=True)
class Transcript:
    """What everybody signed of a run, for whoever has to judge it later. All of it is public."""

    preimage: Sequence[Value]
    """The list whose hash is the run's sid."""
    messages: tuple[Signed, ...]


@dataclass(frozen=True)
class Recall:
    """Resumed with the Transcript of these rounds: all broadcasts and echo envelopes that are here, this party's included."""

    rounds: Sequence[int]


@dataclass(frozen=True)
class Compare:
    """Signed broadcasts of this session that came inside another message: they are kept as if they had come alone.

    The session ends with an Equivocation when one of them is another version of what this party has.
    """

    shown: Sequence[Sequence[bytes]]
    """[body, signature] each."""


@dataclass(frozen=True)
class Dispute:
    """What parties signed in rounds without an echo does not fit together: show it all to everybody, and hear the others.

    The session ends with an Equivocation when two versions of a message are among what was shown. When everybody has
    shown what it has, or the deadline has passed, the protocol is resumed, and ends the session for a reason of its own.
    """

    rounds: Sequence[int]


Effect = Send | SendDurably | Receive | Compute | Persist | Progress | Recall | Compare | Dispute

Protocol = Generator[Effect, Any, T]


def run_serially(jobs: Sequence[Job]) -> list[Any | BaseException]:
    """Run jobs one after the other: each result, or the exception that the job raised."""
    return [run_job(job) for job in jobs]


def run_job(job: Job) -> Any | BaseException:
    """Run one job: its result, or the exception that it raised (given back, so that list order decides)."""
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - handed to the protocol, which re-raises it
        return error
