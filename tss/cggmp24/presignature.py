"""A presignature and the one promise that it can make (protocol.md 3.3, 3.5).

One presignature never yields two different partial signatures, whatever digest, path, entropy or R: two of them under
one Gamma give the key to anyone who sees both. The states go fresh -> promised -> answered, or destroyed from any, never
backwards, under one lock. The secrets live in the memory of one process only and have no encoding.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tss.effects import PublicContext, Transcript
from tss.encoding import Value
from tss.envelope import PartyId
from tss.errors import Degenerate, PresignatureSpent
from tss.groups import Point
from tss.params import Suite
from tss.rand import Rng

ENTROPY_BYTES: Final = 32


class State(enum.Enum):
    """Where a presignature stands."""

    FRESH = "fresh"
    PROMISED = "promised"
    ANSWERED = "answered"
    DESTROYED = "destroyed"


@dataclass(frozen=True)
class Promise:
    """What a promised presignature may be used for, and this party's entropy e_i for it (32 bytes)."""

    digest: bytes
    path: tuple[int, ...]
    tau: int
    e: bytes = field(repr=False)


@dataclass(frozen=True)
class PresignaturePublic:
    """The part of the record that all signers share (protocol.md 3.3)."""

    id: bytes
    """32 bytes, Hc("presig-id", isid_k)."""
    sid: bytes
    key_id: bytes
    share_epoch: bytes
    aux_id: bytes
    owner: int
    """Evaluation point of the party that started the batch; only it may propose with this presignature."""
    signers: tuple[int, ...]
    """S, ascending evaluation points."""
    X: Point
    Gamma: Point
    Delta: dict[int, Point]
    """Delta~_j = delta^-1 * Delta_j by evaluation point."""
    S: dict[int, Point]
    """S~_j = delta^-1 * S_j by evaluation point."""


@dataclass(frozen=True)
class Batch:
    """What the presignatures of one session have in common."""

    key_id: bytes
    share_epoch: bytes
    aux_id: bytes
    owner: int
    signers: tuple[int, ...]
    X: Point


def item_sid(ctx: PublicContext, k: int) -> bytes:
    """isid_k = Hc("item", sid, k), 32 bytes: the session's id in everything that is about item k (protocol.md 3.2)."""
    return ctx.hc("item", ctx.sid, k)


def presignature_id(ctx: PublicContext, k: int) -> bytes:
    """Hc("presig-id", isid_k), 32 bytes: what item k of a session is called (protocol.md 3.3)."""
    return ctx.hc("presig-id", item_sid(ctx, k))


def item_of(ctx: PublicContext, batch: int, named: bytes) -> int | None:
    """Which of a session's `batch` items the presignature of id `named` is; None when it is of another session."""
    return next((k for k in range(batch) if presignature_id(ctx, k) == named), None)


def public_record(
    ctx: PublicContext,
    batch: Batch,
    k: int,
    Gamma: Point,
    sums: Mapping[PartyId, Sequence[Value]],
) -> tuple[PresignaturePublic, int]:
    """(the public record, delta) of item k, from Gamma and everybody's [delta, Delta, S] of round 3.

    The output conditions (a) and (b) of protocol.md 3.2 hold. Raises Degenerate when (c) does not.
    """
    q = ctx.suite.group.q
    delta = sum(value[0] for value in sums.values()) % q
    if delta == 0:
        raise Degenerate("delta is 0")
    inverse = pow(delta, -1, q)
    public = PresignaturePublic(
        id=presignature_id(ctx, k), sid=ctx.sid,
        key_id=batch.key_id, share_epoch=batch.share_epoch, aux_id=batch.aux_id,
        owner=batch.owner, signers=batch.signers, X=batch.X, Gamma=Gamma,
        Delta={j.index: inverse * value[1] for j, value in sums.items()},
        S={j.index: inverse * value[2] for j, value in sums.items()},
    )  # fmt: skip
    return public, delta


class Presignature:
    """One party's presignature. `repr` shows no secret; there is no way to write it to disk."""

    def __init__(
        self,
        suite: Suite,
        me: int,
        public: PresignaturePublic,
        k: int,
        chi: int,
        transcript: Transcript | None = None,
    ) -> None:
        """`transcript`: of the session that made it, with rounds 2 and 3; shared by all that it made."""
        self.suite = suite
        self.me = me
        self.public = public
        self.transcript = transcript
        # What a state does not have is None: fresh has no promise, answered no secrets, destroyed nothing at all.
        self._secrets: tuple[int, int] | None = (k, chi)
        self._state = State.FRESH
        self._promise: Promise | None = None
        self._answer: tuple[bytes, int] | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Presignature(id={self.public.id.hex()[:16]}, state={self._state.value})"

    @property
    def id(self) -> bytes:
        """32 bytes."""
        return self.public.id

    @property
    def state(self) -> State:
        """Where it stands."""
        return self._state

    def promise(self, digest: bytes, path: tuple[int, ...], tau: int, rng: Rng) -> bytes:
        """Promise this presignature to one request: e_i, 32 bytes, drawn once for it.

        The same request again gets the same e_i. Raises PresignatureSpent for any other.
        """
        with self._lock:
            if self._state is State.FRESH:
                self._promise = Promise(digest, path, tau, rng(ENTROPY_BYTES))
                self._state = State.PROMISED
            promise = self._promise
            if promise is None or (promise.digest, promise.path, promise.tau) != (digest, path, tau):
                raise PresignatureSpent(f"the presignature is {self._state.value}, and not for this request")
            return promise.e

    def promise_with(self, digest: bytes, path: tuple[int, ...], tau: int, e: bytes) -> None:
        """Promise a record that was born for one request (full signing), with the e_i already sent."""
        with self._lock:
            if self._state is not State.FRESH:
                raise PresignatureSpent(f"the presignature is {self._state.value}")
            self._promise = Promise(digest, path, tau, e)
            self._state = State.PROMISED

    def answer(self, request: bytes, e: bytes, m: int, r: int, xi: int) -> int:
        """sigma_i = k'_i*m + r*chi'_i mod q for the promised request; k~_i and chi~_i are erased.

        `request` is req, `e` this party's entropy inside it. The same req again gives the same sigma_i. Raises
        PresignatureSpent for any other request, and for entropy that was never promised.
        """
        with self._lock:
            if self._answer is not None and self._answer[0] == request:
                return self._answer[1]
            if self._promise is None or self._secrets is None:
                raise PresignatureSpent(f"the presignature is {self._state.value}")
            if e != self._promise.e:
                raise PresignatureSpent("the request holds entropy that this party did not promise")
            group, tau = self.suite.group, self._promise.tau
            k, chi = self._secrets
            xi_inverse = pow(xi, -1, group.q)
            # xi^-1*(k*m + r*(chi + tau*k)), with what is public multiplied first.
            sigma = group.combine_secrets([(xi_inverse * (m + r * tau), k), (xi_inverse * r, chi)])
            self._secrets = None
            self._answer = (request, sigma)
            self._state = State.ANSWERED
            return sigma

    def destroy(self) -> None:
        """The end, from any state."""
        with self._lock:
            self._secrets = None
            self._promise = None
            self._answer = None
            self._state = State.DESTROYED
