"""Nonce pairs, and the one signature share that each can make (protocol.md 6.2, RFC 9591 5.1).

Two shares from one pair give the signer's key share to anyone who sees both, whatever differs between them: message,
signer set or somebody else's commitment. So a pair loses its secrets before they are used, under a lock, and it has no
encoding: it lives in the memory of one process, and a restart is its end.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from tss.cggmp24.presignature import State
from tss.encoding import ListOf, PointOf, Schema, Tuple, Value
from tss.errors import NonceUsed
from tss.frost.ciphersuite import ciphersuite
from tss.groups import Point
from tss.params import Suite
from tss.rand import Rng
from tss.records import KeyShare

SEED_BYTES: Final = 32
MAX_BATCH: Final = 64
"""Pairs that are exchanged in one session, at most."""

Commitments = tuple[Point, Point]
"""(D, E)."""


class NoncePair:
    """(d_i, e_i) of one party for one signature share; `repr` shows no secret."""

    def __init__(self, suite: Suite, d: int, e: int) -> None:
        self.D = suite.group.mul_base(d)
        self.E = suite.group.mul_base(e)
        self._secrets: tuple[int, int] | None = (d, e)
        self._lock = threading.Lock()
        self._state = State.FRESH

    @classmethod
    def draw(cls, share: KeyShare, rng: Rng) -> Self:
        """Fresh nonces, hedged with the share: H3(32 random bytes || ser(s_i)) each."""
        H = ciphersuite(share.suite.group)
        while True:
            d, e = (H.H3(rng(SEED_BYTES) + H.ser(share.x)) for _ in range(2))
            if d and e:
                return cls(share.suite, d, e)

    def __repr__(self) -> str:
        return f"NoncePair(D={self.D!r}, state={self._state.value})"

    @property
    def state(self) -> State:
        """Fresh, answered or destroyed."""
        return self._state

    @property
    def commitments(self) -> Commitments:
        """(D, E)."""
        return self.D, self.E

    def spend(self) -> tuple[int, int]:
        """(d, e), once. Raises NonceUsed for any second time."""
        with self._lock:
            if self._secrets is None:
                raise NonceUsed(f"the nonce pair is {self._state.value}: one pair makes one signature share")
            secrets, self._secrets = self._secrets, None
            self._state = State.ANSWERED
            return secrets

    def destroy(self) -> None:
        """The end, from any state."""
        with self._lock:
            self._secrets = None
            self._state = State.DESTROYED


def enclosed_schema(suite: Suite) -> Schema:
    """[[D, E] for each pair]: what an acceptance carries. Off the group, and the identity, are refused."""
    point = PointOf(suite.group, proper=True)
    return ListOf(Tuple(point, point), 1, MAX_BATCH)


def enclosed(pairs: list[NoncePair]) -> list[Value]:
    """What `enclosed_schema` reads."""
    return [list(pair.commitments) for pair in pairs]


@dataclass(frozen=True)
class PreparedPublic:
    """What all signers share of pairs that they exchanged ahead."""

    id: bytes
    """32 bytes, Hc("pair", sid, k)."""
    sid: bytes
    key_id: bytes
    share_epoch: bytes
    aux_id: None
    owner: int
    """Evaluation point of the party that started the exchange; only it proposes with these."""
    signers: tuple[int, ...]
    """S, ascending evaluation points."""
    commitments: Mapping[int, Commitments]
    """(D_j, E_j) by evaluation point."""


@dataclass(frozen=True)
class Prepared:
    """One party's part of them: everything that a signature of one message each way needs."""

    me: int
    public: PreparedPublic
    pair: NoncePair
    suite: Suite
    """In which it signs."""

    @property
    def id(self) -> bytes:
        """32 bytes."""
        return self.public.id

    @property
    def transcript(self) -> None:
        """None: evidence of a false share needs nothing but the proposal that lists the pairs."""
        return

    @property
    def state(self) -> State:
        """Where this party's pair stands."""
        return self.pair.state

    def destroy(self) -> None:
        """The end, from any state."""
        self.pair.destroy()
